"""What the page, `appliance status` and `appliance doctor` read of the queue. Reads only; every list has an end.

A list of studies reads the counters that the triggers keep on `study`, and the parcels of the studies it shows: it is
as fast with a million instances as with ten.
"""

from __future__ import annotations

import json
import re
import sqlite3
from typing import Any, Final

import msgspec

from appliance.model.help import BoxFacts, Disk, RefusedStore, StudyInNeed, UnknownDevice, beats
from appliance.model.priority import Priority
from appliance.model.status import (
    Ahead,
    BoxCounts,
    Going,
    LineFacts,
    StudyFacts,
    StudyStatus,
    derive,
    line_up,
)
from appliance.named_sql import NamedSql
from appliance.store_forward import mpps_book
from appliance.store_forward.tunnel_rows import read_facts

_SQL = NamedSql("appliance.store_forward.sql", "page.sql")
_FAR: Final = (1 << 63) - 1
_HELP_LIMIT: Final = 25  # of each kind; the list of studies finds the rest
_ROWS_LIMIT: Final = 200
_EXPECTED_MS: Final = 180_000
STATES: Final = ("any", "under_way", "at_hub", "needs_help")


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """Which studies to list. Times in Unix ms."""

    state: str = "any"  # one of STATES
    text: str = ""  # beginnings of words of the patient's name, identifier, or the accession number
    modality: str = ""
    from_at: int = 0  # last image came at or after
    until_at: int = _FAR  # and before
    before: tuple[int, int] = (_FAR, _FAR)  # place in the list: last_received_at and id of the last one shown
    limit: int = 25


class StudyLine(msgspec.Struct, frozen=True, kw_only=True):
    """One study in a list. Texts are the modality's: decoded, never checked, never markup."""

    id: int
    study_instance_uid: str
    patient_name: str
    patient_id: str
    patient_birth_date: str
    patient_sex: str
    accession_number: str
    study_description: str
    study_date: str
    study_time: str
    referring_physician: str
    modalities: tuple[str, ...]
    body_parts: tuple[str, ...]
    priority: Priority
    calling_ae: str
    first_received_at: int
    last_received_at: int
    delivered_at: int | None
    bytes: int  # data set bytes as they came
    wire_bytes: int  # what its parcels take on the wire
    wire_data_bytes: int  # data set bytes of what is in these parcels
    quarantined: int
    conflicts: int
    identity_conflict: int
    conflicts_checked: int
    status: StudyStatus


class Event(msgspec.Struct, frozen=True):
    """One row of a study's timeline. `at` in Unix ms."""

    at: int
    kind: str
    count: int
    detail: str


class StudyPage(msgspec.Struct, frozen=True, kw_only=True):
    """All that the page of one study shows. `events` are the latest, newest first.

    `named`: how many images came of those that the modality says it made, and how many these are; None: it says none.
    """

    line: StudyLine
    series: list[sqlite3.Row]
    events: list[Event]
    quarantined: list[sqlite3.Row]
    conflicts: list[sqlite3.Row]
    named: tuple[int, int] | None = None


def list_studies(connection: sqlite3.Connection, wanted: Filter, now: int) -> tuple[list[StudyLine], bool]:
    """One page of studies, newest first, and whether older ones follow."""
    values = {
        "now": now,
        "before_at": wanted.before[0],
        "before_id": wanted.before[1],
        "from_at": wanted.from_at,
        "until_at": wanted.until_at,
        "text": match_text(wanted.text),
        "modality": wanted.modality or None,
        "limit": wanted.limit + 1,
    }
    # The condition is one of our own constants: a partial index serves only a condition that stands in the query.
    query = _SQL["pick_studies"].replace("{state}", _SQL[f"state_{wanted.state}"])
    ids = [row["id"] for row in connection.execute(query, values)]
    return _lines(connection, ids[: wanted.limit], now), len(ids) > wanted.limit


def match_text(text: str) -> str | None:
    """An FTS5 query for studies that hold every word of `text`, or None for no words. What is typed is never syntax."""
    words = re.findall(r"\w+", text)[:8]
    return " ".join(f'"{word}"*' for word in words) if words else None


def find_study(connection: sqlite3.Connection, study_id: int, now: int) -> StudyPage | None:
    """One study with its series, timeline, and what is wrong with it; None when there is none."""
    lines = _lines(connection, [study_id], now)
    if not lines:
        return None

    def rows(name: str) -> list[sqlite3.Row]:
        return connection.execute(_SQL[name], {"study_id": study_id, "limit": _ROWS_LIMIT}).fetchall()

    return StudyPage(
        line=lines[0],
        series=rows("series_of_study"),
        events=[Event(*row) for row in rows("events_of_study")],
        quarantined=rows("quarantined_of_study"),
        conflicts=rows("conflicts_of_study"),
        named=mpps_book.named_of(connection, study_id),
    )


def _lines(connection: sqlite3.Connection, ids: list[int], now: int) -> list[StudyLine]:
    if not ids:
        return []
    line, ahead = read_line(connection, now), _read_ahead(connection)
    rows = connection.execute(_SQL["studies"], {"ids": json.dumps(ids)}).fetchall()
    return [_line(row, _before(row, ahead), line, now) for row in rows]


def _before(row: sqlite3.Row, ahead: dict[int, Ahead]) -> Ahead:
    """What goes before the study; not known while the hub does not want all of it."""
    return Ahead(known=False) if row["parcels_kept"] else ahead.get(row["id"], Ahead())


_PLAIN: Final = tuple(
    field.name
    for field in msgspec.structs.fields(StudyLine)
    if field.name not in {"modalities", "body_parts", "priority", "status", "wire_bytes", "wire_data_bytes"}
)


def _line(row: sqlite3.Row, ahead: Ahead, line: LineFacts, now: int) -> StudyLine:
    facts = StudyFacts(
        priority=Priority(row["priority"]),
        instances=row["instances"],
        received=row["received"],
        packed=row["packed"],
        delivered=row["delivered"],
        quarantined=row["quarantined"],
        unchecked_conflicts=max(0, row["conflicts"] + row["identity_conflict"] - row["conflicts_checked"]),
        last_received_at=row["last_received_at"],
        settle_ms=row["settle_ms"],
        wire_bytes=row["wire_bytes"] or 0,
        wire_done=row["wire_done"] or 0,
        ahead=ahead,
        kept_here=bool(row["parcels_kept"] and not row["parcels_going"] and not row["received"]),
    )
    return StudyLine(
        modalities=_words(row["modalities"]),
        body_parts=_words(row["body_parts"]),
        priority=Priority(row["priority"]),
        wire_bytes=facts.wire_bytes,
        wire_data_bytes=row["wire_data_bytes"] or 0,
        status=derive(facts, line, now),
        **{name: row[name] for name in _PLAIN},
    )


def _words(array: str) -> tuple[str, ...]:
    return tuple(sorted(word for word in json.loads(array) if word))


def read_line(connection: sqlite3.Connection, now: int) -> LineFacts:
    """The line as forward measured it; down and unknown before it ever ran."""
    row = connection.execute(_SQL["line"]).fetchone()
    alive = beats(_read_beats(connection).get("forward"), now)
    if row is None:
        return LineFacts(sender_beats=alive)
    return LineFacts(
        up=bool(row["up"]),
        since=row["since"],
        rate=row["rate"],
        rate_spread=row["rate_spread"],
        hub_seen_at=row["hub_seen_at"],
        hub_name=row["hub_name"],
        clock_offset_ms=row["clock_offset_ms"],
        problem=row["problem"],
        expected=_read_expected(connection, now) if alive else (),
        sender_beats=alive,
        held=frozenset(Priority(number) for number in json.loads(row["held"])),
    )


def _read_expected(connection: sqlite3.Connection, now: int) -> tuple[tuple[float, float, float], ...]:
    """What `forecasts` said of the line a moment ago; nothing when it has not said anything for some minutes."""
    row = connection.execute(_SQL["expected"]).fetchone()
    if row is None or not abs(now - row["expected_at"]) < _EXPECTED_MS:
        return ()
    return tuple((float(size), float(soonest), float(latest)) for size, soonest, latest in json.loads(row["expected"]))


def _read_beats(connection: sqlite3.Connection) -> dict[str, int]:
    return {row["name"]: row["beat_at"] for row in connection.execute(_SQL["beats"])}


def _read_ahead(connection: sqlite3.Connection) -> dict[int, Ahead]:
    unpacked = connection.execute(_SQL["first_unpacked"]).fetchone()["priority"]
    return line_up(_read_going(connection), None if unpacked is None else Priority(unpacked))


def _read_going(connection: sqlite3.Connection) -> list[Going]:
    return [
        Going(
            study_id=row["id"],
            priority=Priority(row["priority"]),
            first_received_at=row["first_received_at"],
            bytes_left=row["to_send_bytes"],
            unpacked=bool(row["unpacked"]),
        )
        for row in connection.execute(_SQL["going"])
    ]


def read_backlog(connection: sqlite3.Connection) -> int | None:
    """Bytes on the wire that the hub still lacks, of all studies; None while some instances are not packed."""
    if connection.execute(_SQL["first_unpacked"]).fetchone()["priority"] is not None:
        return None
    return sum(study.bytes_left for study in _read_going(connection))


def read_counts(connection: sqlite3.Connection, midnight: int, now: int) -> BoxCounts:
    """How many studies came since `midnight` (Unix ms, of the site's day), and how many are under way."""
    row = connection.execute(_SQL["counts"], {"midnight": midnight, "now": now}).fetchone()
    return BoxCounts(today=row["today"], today_at_hub=row["today_at_hub"], under_way=row["under_way"])


def read_box(connection: sqlite3.Connection, disk: Disk, now: int, *, tunnel: bool = False) -> BoxFacts:
    """What the list of things that need a person is made from. `tunnel`: this unit looks after one."""

    def rows(name: str) -> list[sqlite3.Row]:
        return connection.execute(_SQL[name], {"limit": _HELP_LIMIT}).fetchall()

    processes = read_processes(connection)
    return BoxFacts(
        line=read_line(connection, now),
        disk=disk,
        beats={row["name"]: row["beat_at"] for row in processes},
        problems={row["name"]: row["problem"] for row in processes if row["problem"]},
        tunnel=read_facts(connection, now) if tunnel else None,
        studies=[StudyInNeed(study_id=row["id"], **_but_id(row)) for row in rows("studies_in_need")],
        devices=[UnknownDevice(device_id=row["id"], **_but_id(row)) for row in rows("unknown_devices")],
        refused=[RefusedStore(refused_id=row["id"], **_but_id(row)) for row in rows("refused_stores")],
    )


def _but_id(row: sqlite3.Row) -> dict[str, Any]:
    return {key: row[key] for key in row.keys() if key != "id"}  # noqa: SIM118 - a Row iterates over its values


def read_modalities(connection: sqlite3.Connection) -> list[str]:
    """The modalities that studies on this box have."""
    return [row["modality"] for row in connection.execute(_SQL["modalities"])]


def read_devices(connection: sqlite3.Connection) -> list[sqlite3.Row]:
    """Devices that called and are not in the configuration, the undecided first."""
    return connection.execute(_SQL["devices"], {"limit": _ROWS_LIMIT}).fetchall()


def read_processes(connection: sqlite3.Connection) -> list[sqlite3.Row]:
    """Name, last beat (Unix ms), status and problem of each process."""
    return connection.execute(_SQL["beats"]).fetchall()


def read_audit(connection: sqlite3.Connection, before: int = _FAR, limit: int = 50) -> list[sqlite3.Row]:
    """One page of the audit trail, newest first, of rows with an id under `before`."""
    return connection.execute(_SQL["audit_events"], {"before": before, "limit": limit}).fetchall()
