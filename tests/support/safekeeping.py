"""What must be true of a unit's data directory after any accident: the checks that every rig shares.

They read the files and tables themselves, not through the product's code, so that a mistake there can't hide itself.
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from collections.abc import Collection
from pathlib import Path

from appliance.part10.meta import read_prefix

Held = tuple[str, str]  # SOP Instance UID, SHA-256 of the data set as 64 hex digits


def unit_problems(data: Path, acknowledged: Collection[Held]) -> list[str]:
    """A sentence for everything that is not as it must be; `acknowledged`: what a modality was told is stored."""
    if not (data / "appliance.db").exists():
        return [f"{uid}: acknowledged, and there is no database" for uid, _ in acknowledged]
    with contextlib.closing(sqlite3.connect(data / "appliance.db", isolation_level=None)) as database:
        database.row_factory = sqlite3.Row
        if not database.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
            return [f"{uid}: acknowledged, and the database is empty" for uid, _ in acknowledged]
        problems = _damage(database)
        if not problems:
            rows = database.execute("SELECT * FROM instance").fetchall()
            problems += _lost(rows, acknowledged) + _files_that_are_wrong(data, rows) + _wrong_counts(database)
            problems += _wrong_parcels(data, database)
    return problems


def leftovers(data: Path) -> list[str]:
    """Files that no row names: there must be none once start-up has tidied."""
    with contextlib.closing(sqlite3.connect(data / "appliance.db", isolation_level=None)) as database:
        known = {str(row[0]) for row in database.execute("SELECT file FROM instance WHERE state <> 'removed'")}
        parcels = {str(row[0]) for row in database.execute("SELECT file FROM parcel WHERE file_gone_at IS NULL")}
    found = [str(path.relative_to(data)) for path in sorted((data / "spool").glob("*/*")) if path.is_file()]
    extra = [f"{name}: no row names it" for name in found if name.removeprefix("spool/") not in known]
    if (data / "parcels").is_dir():
        names = [path.name for path in sorted((data / "parcels").iterdir()) if path.suffix != ".lock"]
        extra += [f"parcels/{name}: no row names it" for name in names if name not in parcels]
    return extra


def spool_digest(path: Path) -> str:
    """SHA-256 of the data set in a Part 10 file."""
    with path.open("rb") as file:
        _, start = read_prefix(file)
        file.seek(start)
        return hashlib.file_digest(file, "sha256").hexdigest()


def _damage(database: sqlite3.Connection) -> list[str]:
    try:
        found = [str(row[0]) for row in database.execute("PRAGMA integrity_check") if row[0] != "ok"]
        found += [f"foreign key: {tuple(row)}" for row in database.execute("PRAGMA foreign_key_check")]
    except sqlite3.DatabaseError as error:
        found = [str(error)]
    return [f"the database is damaged: {line}" for line in found]


def _lost(rows: list[sqlite3.Row], acknowledged: Collection[Held]) -> list[str]:
    held = {(row["sop_instance_uid"], row["digest"].hex()) for row in rows}
    lost = [uid for uid, digest in acknowledged if (uid, digest) not in held]
    return [f"{uid}: acknowledged, and not in the queue" for uid in lost]


def _files_that_are_wrong(data: Path, rows: list[sqlite3.Row]) -> list[str]:
    problems = []
    for row in rows:
        if row["state"] == "removed":
            continue
        try:
            same = spool_digest(data / "spool" / row["file"]) == row["digest"].hex()
        except Exception as error:  # noqa: BLE001 - whatever is wrong with the file, it is the finding
            problems.append(f"{row['sop_instance_uid']}: its row is there, and its file is not ({error})")
            continue
        if not same:
            problems.append(f"{row['sop_instance_uid']}: its file holds other bytes than were acknowledged")
    return problems


def _wrong_counts(database: sqlite3.Connection) -> list[str]:
    counted = database.execute(
        "SELECT study.id FROM study LEFT JOIN instance ON instance.study_id = study.id GROUP BY study.id"
        " HAVING study.instances <> count(instance.id) OR study.received <> total(instance.state = 'received')"
        " OR study.packed <> total(instance.state = 'packed') OR study.instances = 0"
    )
    return [f"study {row[0]}: its counters do not say what its instances say" for row in counted]


def _wrong_parcels(data: Path, database: sqlite3.Connection) -> list[str]:
    problems = []
    for row in database.execute("SELECT * FROM parcel WHERE state IN ('built', 'open', 'uploaded')"):
        path = data / "parcels" / row["file"]
        content = path.read_bytes() if path.exists() else b""
        if hashlib.sha256(content).digest() != row["digest"]:
            problems.append(f"parcel {row['id']} ({row['state']}): its file does not hold what its row says")
    stray = database.execute(
        "SELECT instance.id FROM instance LEFT JOIN parcel ON parcel.id = instance.parcel_id"
        " WHERE instance.state = 'packed' AND (parcel.id IS NULL OR parcel.state = 'refused')"
    )
    return problems + [f"instance {row[0]} is packed, and no parcel will bring it to the hub" for row in stray]


def hub_problems(data: Path, held: Collection[Held]) -> list[str]:
    """A sentence for everything wrong at the hub; `held`: what it must have.

    For an archive that keeps instances as received.
    """
    with contextlib.closing(sqlite3.connect(data / "hub.db", isolation_level=None)) as database:
        database.row_factory = sqlite3.Row
        problems = _damage(database)
        if problems:
            return problems
        rows = database.execute("SELECT * FROM instance").fetchall()
        wrong = database.execute(
            "SELECT study.id FROM study LEFT JOIN instance ON instance.study_id = study.id GROUP BY study.id"
            " HAVING study.instances <> count(instance.id) OR study.instances = 0"
        )
        problems += [f"study {row[0]} at the hub: its counter does not say what its instances say" for row in wrong]
    here = {(row["sop_instance_uid"], row["digest"].hex()) for row in rows}
    problems += [f"{uid}: not at the hub" for uid, digest in held if (uid, digest) not in here]
    for row in rows:
        path = data / row["stored_key"]
        if not path.exists():
            problems.append(f"{row['sop_instance_uid']}: in the hub's index, and not in its archive")
        elif spool_digest(path) != row["digest"].hex():
            problems.append(f"{row['sop_instance_uid']}: the hub's archive holds other bytes")
    return problems


def hub_leftovers(data: Path) -> list[str]:
    """What a hub that has nothing left to do must not have: open parcels, half files, files that no row names."""
    with contextlib.closing(sqlite3.connect(data / "hub.db", isolation_level=None)) as database:
        query = "SELECT name, verdict FROM parcel WHERE verdict NOT IN ('verified', 'refused')"
        problems = [f"parcel {name} at the hub is still {verdict}" for name, verdict in database.execute(query)]
        keys = ("stored_key FROM instance", "recipe_key FROM instance", "stored_key FROM header_dictionary")
        known = {row[0] for columns in keys for row in database.execute(f"SELECT {columns}")}
    for name in ("uploads", "staging", "archive"):
        found = [str(path.relative_to(data)) for path in sorted((data / name).rglob("*")) if path.is_file()]
        problems += [f"{path}: no row of the hub names it" for path in found if path not in known]
    return problems
