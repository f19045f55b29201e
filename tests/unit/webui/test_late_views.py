"""Looks that the audit trail could not take: each once, none forgotten when writing fails, and a ceiling."""

from __future__ import annotations

import sqlite3

import pytest
from support.ward import MINUTE, Ward

from appliance.store_forward import actions
from appliance.store_forward.actions import Actor
from appliance.webui.late_views import KEPT_MAX, LateViews, View

ESTHER = Actor(name="Esther", role="radiographer", address="192.168.1.50")
JOSEPH = Actor(name="Joseph", role="engineer", address="192.168.1.51")


def looks(ward: Ward) -> list[tuple[object, ...]]:
    rows = ward.db.execute("SELECT study_id, actor, role, address, at FROM audit_event ORDER BY id")
    return [tuple(row) for row in rows]


def test_each_look_is_written_once_with_its_own_time(ward: Ward) -> None:
    first, second = ward.study("A", "1"), ward.study("B", "2")
    late = LateViews()
    for by, study, minute in ((ESTHER, first, 0), (ESTHER, first, 5), (JOSEPH, first, 6), (ESTHER, second, 7)):
        late.keep(View(study_id=study, by=by, at=ward.now + minute * MINUTE))
    late.keep(View(study_id=first, by=ESTHER, at=ward.now + 16 * MINUTE))
    late.write(ward.db)
    late.write(ward.db)
    assert [(row[0], row[1], (int(str(row[4])) - ward.now) // MINUTE) for row in looks(ward)] == [
        (first, "Esther", 0),
        (first, "Joseph", 6),
        (second, "Esther", 7),
        (first, "Esther", 16),
    ]
    assert looks(ward)[0][2:4] == ("radiographer", "192.168.1.50")


def test_a_look_stays_when_it_can_not_be_written_yet(ward: Ward) -> None:
    late = LateViews()
    late.keep(View(study_id=ward.study("A", "1"), by=ESTHER, at=ward.now))
    ward.db.execute("PRAGMA query_only = ON")
    with pytest.raises(sqlite3.OperationalError):
        late.write(ward.db)
    ward.db.execute("PRAGMA query_only = OFF")
    late.write(ward.db)
    assert len(looks(ward)) == 1


def test_what_waits_has_a_ceiling(ward: Ward) -> None:
    study, late = ward.study("A", "1"), LateViews()
    for number in range(KEPT_MAX + 10):
        late.keep(View(study_id=study, by=ESTHER, at=ward.now + number * actions.VIEW_MS))
    late.write(ward.db)
    assert len(looks(ward)) == KEPT_MAX
