"""A fictitious ward: a unit's database with studies in every state, for tests of the page and the pictures in the docs.

Nobody in it exists. Rows are written as the processes write them: through the same tables, triggers and state moves.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from support import rows

from appliance.config import Site, Storage, UnitConfig, Web
from appliance.model.priority import Priority
from appliance.model.states import InstanceEvent, ParcelEvent
from appliance.store_forward import actions
from appliance.store_forward.actions import Actor
from appliance.store_forward.database import open_database, transaction
from appliance.store_forward.queue import beat, move_instances, move_parcel, record_event
from appliance.webui import users

MINUTE = 60_000
HOUR = 60 * MINUTE
PINS = {"Esther": "274918", "Joseph": "850362"}


def ward_config(data: Path, **site: Any) -> UnitConfig:
    """A unit's configuration with its data in `data` and the page on any free port."""
    return UnitConfig(
        site=Site(**{"id": "mangochi", "name": "Mangochi District Hospital", "timezone": "Africa/Blantyre", **site}),
        storage=Storage(data=str(data), reserve_bytes=1 << 20),
        web=Web(port=0),
    )


class Ward:
    """Writes rows of a unit's database; `now` is Unix ms."""

    def __init__(self, data: Path, now: int) -> None:
        data.mkdir(parents=True, exist_ok=True)
        self.db: sqlite3.Connection = open_database(data)
        self.db.execute(
            "PRAGMA synchronous = OFF"
        )  # of this connection alone: nobody cuts the power of a ward in a test
        self.now = now
        self._count = 0

    def close(self) -> None:
        self.db.close()

    def people(self) -> None:
        """One radiographer and one engineer, with `PINS`."""
        with transaction(self.db):
            users.add_user(self.db, "Esther", "radiographer", PINS["Esther"], self.now - 90 * 24 * HOUR)
            users.add_user(self.db, "Joseph", "engineer", PINS["Joseph"], self.now - 90 * 24 * HOUR)

    def beats(self, *names: str, at: int | None = None) -> None:
        words = {"receive": "listening on 11112", "compress": "idle", "forward": "sending", "web": "port 8080"}
        with transaction(self.db):
            for name in names or ("receive", "compress", "forward", "web"):
                beat(self.db, name, self.now if at is None else at, words[name])

    def line(self, *, up: bool, since: int, seen: int | None = None, **values: Any) -> None:
        with transaction(self.db):
            self.db.execute("DELETE FROM link")
            seen_at = self.now if seen is None else seen
            row: dict[str, Any] = {"rate": 42_000.0, "hub_name": "Queens", "clock_offset_ms": 340}
            rows.set_line(self.db, up=int(up), since=since, hub_seen_at=seen_at, **(row | values))

    def study(
        self,
        name: str,
        patient_id: str,
        modality: str = "CR",
        body_part: str = "CHEST",
        *,
        images: int = 2,
        image_bytes: int = 8_000_000,
        came: int | None = None,
        settle_ms: int = 2 * MINUTE,
        priority: Priority = Priority.ROUTINE,
        **columns: Any,
    ) -> int:
        """A study whose images were just received `came` (Unix ms); returns its id."""
        self._count += 1
        at = self.now - 10 * MINUTE if came is None else came
        values: dict[str, Any] = {
            "study_instance_uid": f"2.25.{10**20 + self._count}",
            "patient_name": name,
            "patient_id": patient_id,
            "issuer_of_patient_id": "",
            "patient_birth_date": "19790412",
            "patient_sex": "F",
            "accession_number": f"A{2600 + self._count}",
            "study_description": "",
            "study_date": "",
            "study_time": "",
            "referring_physician": "PHIRI^MERCY^^DR",
            "priority": int(priority),
            "settle_ms": settle_ms,
            "calling_ae": f"{modality}1",
            "first_received_at": at - images * 400,
            "last_received_at": at,
            **columns,
        }
        with transaction(self.db):
            study_id = rows.add_study(self.db, **values)
            description = columns.get("study_description", "")
            series_id = rows.add_series(
                self.db,
                study_id,
                modality=modality,
                body_part=body_part,
                series_number="1",
                series_description=description,
            )
            for number in range(images):
                rows.add_instance(
                    self.db,
                    study_id,
                    series_id,
                    bytes=image_bytes,
                    calling_ae=values["calling_ae"],
                    calling_address="192.168.1.20",
                    received_at=values["first_received_at"] + number * 400,
                )
            record_event(self.db, study_id, values["first_received_at"], "received_first", 1)
            record_event(self.db, study_id, at, "received", images)
        return study_id

    def images_of(self, study_id: int, state: str) -> list[int]:
        rows = self.db.execute(
            "SELECT id FROM instance WHERE study_id = ? AND state = ? ORDER BY id", (study_id, state)
        )
        return [row["id"] for row in rows]

    def pack(self, study_id: int, images: int | None = None, ratio: float = 3.0, at: int | None = None) -> int:
        """One parcel with that many (or all) of the study's images that are not packed; returns its id."""
        when = self.now if at is None else at
        with transaction(self.db):
            ids = self.images_of(study_id, "received")[:images]
            marks = ",".join("?" * len(ids))
            before = self.db.execute(f"SELECT sum(bytes) AS b FROM instance WHERE id IN ({marks})", ids).fetchone()["b"]
            parcel_id = rows.add_parcel(
                self.db, study_id, bytes=int(before / ratio), data_bytes=before, instances=len(ids), built_at=when
            )
            move_instances(self.db, ids, InstanceEvent.PACK)
            self.db.execute(f"UPDATE instance SET parcel_id = ? WHERE id IN ({marks})", (parcel_id, *ids))
            record_event(self.db, study_id, when, "packed", len(ids))
        return parcel_id

    def send(self, parcel_id: int, share: float) -> None:
        """The hub has that share of the parcel's bytes."""
        with transaction(self.db):
            if self.db.execute("SELECT state FROM parcel WHERE id = ?", (parcel_id,)).fetchone()["state"] == "built":
                move_parcel(self.db, parcel_id, ParcelEvent.OPEN)
            self.db.execute(
                "UPDATE parcel SET hub_offset = CAST(bytes * ? AS INTEGER) WHERE id = ?", (share, parcel_id)
            )

    def deliver(self, parcel_id: int, at: int | None = None) -> None:
        """The hub's receipts for all that is in the parcel."""
        when = self.now if at is None else at
        with transaction(self.db):
            ids = [row["id"] for row in self.db.execute("SELECT id FROM instance WHERE parcel_id = ?", (parcel_id,))]
            study_id = self.db.execute("SELECT study_id FROM parcel WHERE id = ?", (parcel_id,)).fetchone()["study_id"]
            marks = ",".join("?" * len(ids))
            self.db.execute(f"UPDATE instance SET delivered_at = ? WHERE id IN ({marks})", (when, *ids))
            move_instances(self.db, ids, InstanceEvent.RECEIPT)
            self.db.execute("UPDATE parcel SET hub_offset = bytes, delivered_at = ? WHERE id = ?", (when, parcel_id))
            move_parcel(self.db, parcel_id, ParcelEvent.VERIFIED)
            record_event(self.db, study_id, when, "delivered", len(ids))

    def delivered_study(self, name: str, patient_id: str, *args: Any, at: int, **kwargs: Any) -> int:
        """A study that is all at the hub since `at`."""
        study_id = self.study(name, patient_id, *args, **kwargs)
        self.deliver(self.pack(study_id, at=at - MINUTE), at)
        return study_id

    def quarantine(self, study_id: int, images: int, reason: str) -> None:
        with transaction(self.db):
            ids = self.images_of(study_id, "received")[:images]
            move_instances(self.db, ids, InstanceEvent.QUARANTINE)
            self.db.execute(f"UPDATE instance SET reason = ? WHERE id IN ({','.join('?' * len(ids))})", (reason, *ids))

    def device(self, calling_ae: str, address: str, attempts: int = 3) -> int:
        with transaction(self.db):
            return rows.insert(
                self.db,
                "device",
                calling_ae=calling_ae,
                address=address,
                called_ae="APPLIANCE",
                first_seen=self.now - HOUR,
                last_seen=self.now - 6 * MINUTE,
                attempts=attempts,
            )

    def refused(self, calling_ae: str, address: str, error_id: str, status: int, times: int = 1) -> int:
        with transaction(self.db):
            return rows.insert(
                self.db,
                "refused_store",
                at=self.now - HOUR,
                last_at=self.now - 20 * MINUTE,
                times=times,
                calling_ae=calling_ae,
                address=address,
                status=status,
                error_id=error_id,
            )


def busy_morning(ward: Ward) -> dict[str, int]:
    """Studies in every state, with the line up; returns the id of one of each state."""
    now = ward.now
    ward.people()
    ward.beats()
    ward.line(up=True, since=now - 3 * HOUR)
    _quiet_ones(ward)
    ids = {"at_hub": ward.delivered_study("BANDA^GRACE^^MRS", "MG-4431", came=now - 95 * MINUTE, at=now - 84 * MINUTE)}
    ward.delivered_study("CHIRWA^THOKOZANI", "MG-4433", "DX", "HAND", came=now - 80 * MINUTE, at=now - 71 * MINUTE)
    ids["needs_help"] = ward.study("MWALE^PETER", "MG-4434", "CR", "SPINE", came=now - 66 * MINUTE, images=3)
    ward.quarantine(ids["needs_help"], 1, "E403")
    ward.deliver(ward.pack(ids["needs_help"]), now - 50 * MINUTE)
    ids["waiting"] = ward.study("NYIRENDA^ALICE", "MG-4436", "CR", "CHEST", came=now - 41 * MINUTE)
    ward.send(ward.pack(ids["waiting"], at=now - 40 * MINUTE), 0.62)
    ward.pack(ward.study("GONDWE^CHIKONDI", "MG-4437", "CR", "PELVIS", came=now - 33 * MINUTE))
    ids["on_its_way"] = _stat_head(ward)
    recent = {"came": now - 30_000, "image_bytes": 700_000, "images": 9}
    ids["here"] = ward.study("TEMBO^LIMBANI", "MG-4440", "US", "ABDOMEN", **recent)
    ward.device("CT2", "192.168.1.27")
    ward.refused("OLDUS", "192.168.1.34", "E301", 0xC000, 4)
    return ids


def _quiet_ones(ward: Ward) -> None:
    """Yesterday's, long at the hub."""
    then = ward.now - 26 * HOUR
    ward.delivered_study("KACHALE^SAMSON", "MG-4417", came=then, at=then + 12 * MINUTE, patient_sex="M")
    more = {"images": 14, "image_bytes": 900_000, "came": then + HOUR}
    ward.delivered_study("PHIRI^MEMORY^CHISOMO", "MG-4420", "US", "ABDOMEN", at=then + 85 * MINUTE, **more)


def _stat_head(ward: Ward) -> int:
    """A CT that overtook the others in the middle of their transfer."""
    came = ward.now - 18 * MINUTE
    words = {"study_description": "CT brain, fall from height", "patient_sex": "M"}
    head = ward.study("KAMANGA^DAVID", "MG-4438", "CT", "HEAD", images=140, image_bytes=526_000, came=came, **words)
    with transaction(ward.db):
        radiographer = Actor(name="Esther", role="radiographer", address="192.168.1.50")
        actions.set_priority(ward.db, head, Priority.STAT, radiographer, came + MINUTE)
    first = ward.pack(head, 60, ratio=3.9, at=came + 2 * MINUTE)
    ward.pack(head, 80, ratio=3.9, at=came + 3 * MINUTE)
    ward.deliver(first, ward.now - 6 * MINUTE)
    return head
