"""What the hub is told of a study before it is there, out of the queue; and the hub's wishes into it.

A notice is told when the first instance came, when instances, deliveries or the priority changed, when the hub has all,
and now and then while it is on its way, for its estimate. Use it in one thread.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from appliance.link.eta import Point, estimate
from appliance.model.notice import NOTICE_BYTES_MAX, SERIES_MAX, SeriesNotice, StudyNotice, Wishes
from appliance.model.priority import Priority
from appliance.named_sql import NamedSql
from appliance.store_forward import views, wishes
from appliance.store_forward.database import open_database, transaction

_SQL: Final = NamedSql("appliance.store_forward.sql", "early.sql")
CHANGED_MS: Final = 10_000  # at the soonest between two notices of one study
AGAIN_MS: Final = 300_000  # when nothing changed but maybe the estimate


@dataclass(frozen=True, slots=True)
class Notice:
    """A notice to send: `body` is its JSON. The others are what it says, to know later whether that changed."""

    study_id: int
    study_instance_uid: str
    body: bytes
    instances: int
    delivered: int
    priority: int


class EarlyBook:
    """`data` is the unit's data directory; opens its database."""

    def __init__(self, data: Path) -> None:
        self._db = open_database(data)

    def close(self) -> None:
        """Closes the database."""
        self._db.close()

    def next_notice(self, now: int, *, again: bool) -> Notice | None:
        """What is to be told next at `now` (Unix ms). `again`: also what has not changed for a while."""
        row = self._first("to_tell", now, CHANGED_MS) or self._first("to_tell_last", now, CHANGED_MS)
        if row is None and again:
            row = self._first("to_tell_again", now, AGAIN_MS)
        return None if row is None else self._notice(row["id"], now)

    def _first(self, query: str, now: int, pause: int) -> sqlite3.Row | None:
        found: sqlite3.Row | None = self._db.execute(_SQL[query], {"now": now, "pause": pause}).fetchone()
        return found

    def _notice(self, study_id: int, now: int) -> Notice:
        row = self._db.execute(_SQL["study"], {"id": study_id}).fetchone()
        series = [_series(each) for each in self._db.execute(_SQL["series"], {"id": study_id, "limit": SERIES_MAX})]
        return Notice(
            study_id=study_id,
            study_instance_uid=row["study_instance_uid"],
            body=_body(row, series, self._eta(study_id, now)),
            instances=row["instances"],
            delivered=row["delivered"],
            priority=row["priority"],
        )

    def _eta(self, study_id: int, now: int) -> tuple[int, int] | None:
        """When all of it is likely to be there, by the hub's clock as far as we know that."""
        page, line = views.find_study(self._db, study_id, now), views.read_line(self._db, now)
        if page is None or not line.carries:
            return None
        expected = [Point(*point) for point in line.expected]
        found = estimate(page.line.status.bytes_to_go, line.rate, line.rate_spread, expected)
        at = now + (line.clock_offset_ms or 0)
        if found is None or at < 0:
            return None
        return at + int(found.soonest * 1000), at + int(found.latest * 1000)

    def told(self, notice: Notice, now: int) -> None:
        """The hub has it."""
        values = {"id": notice.study_id, "now": now, "instances": notice.instances}
        with transaction(self._db):
            self._db.execute(_SQL["told"], values | {"delivered": notice.delivered, "priority": notice.priority})

    def known(self) -> int:
        """The number of the hub's last wish that is in the queue."""
        return wishes.known(self._db)

    def take(self, found: Wishes, now: int) -> None:
        """Makes the hub's wishes facts of the queue."""
        if found.wishes or found.latest < self.known():
            with transaction(self._db):
                wishes.take(self._db, found, now)


_TEXTS: Final = (
    "study_instance_uid patient_name patient_id issuer_of_patient_id patient_birth_date patient_sex accession_number "
    "study_description study_date study_time referring_physician"
).split()
_SERIES: Final = "series_instance_uid modality body_part series_description series_number instances".split()


def _body(row: sqlite3.Row, series: list[SeriesNotice], eta: tuple[int, int] | None) -> bytes:
    """The JSON; with fewer series when it would be more than the hub takes."""
    facts: dict[str, Any] = {name: row[name] for name in _TEXTS}
    facts |= {
        "priority": Priority(row["priority"]).word,
        "first_received_at": max(0, row["first_received_at"]),
        "last_received_at": max(0, row["last_received_at"]),
        "instances": row["instances"],
        "delivered": row["delivered"],
        "bytes_to_send": max(0, row["to_send_bytes"]),
        "series": series,
        "eta": eta,
    }
    notice = StudyNotice(**facts)
    body = msgspec.json.encode(notice)
    if len(body) > NOTICE_BYTES_MAX and series:
        return _body(row, series[: len(series) // 2], eta)
    return body


def _series(row: sqlite3.Row) -> SeriesNotice:
    return SeriesNotice(**{name: row[name] for name in _SERIES})
