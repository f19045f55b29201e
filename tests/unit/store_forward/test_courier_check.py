"""What `doctor` says of sticks: the key that they are written for, and when to write one."""

from __future__ import annotations

from appliance.courier.cipher import new_key
from appliance.store_forward import doctor
from appliance.store_forward.doctor import Level
from appliance.store_forward.status import Line

NOW = 1_795_000_000_000
HOUR = 3_600_000
OURS, OTHER = new_key()[1], new_key()[1]


def test_a_key_that_is_not_the_hubs_is_a_warning_that_names_both() -> None:
    check = doctor.check_courier(OURS, OTHER)
    assert check.level is Level.WARNING
    assert OURS in check.said
    assert OTHER in check.said
    assert "hub courier key" in check.todo


def test_a_key_that_is_the_hubs_or_was_never_compared_or_is_not_set_is_no_fault() -> None:
    assert [doctor.check_courier(*keys).level for keys in ((OURS, OURS), (OURS, ""), ("", OTHER))] == [Level.OK] * 3


def test_a_line_that_is_down_for_two_days_brings_the_stick_to_mind() -> None:
    def todo(hours: int) -> str:
        values = {"bytes_per_second": 0.0, "round_trip_ms": 0.0, "hub": "", "hub_seen_at": None, "problem": "E501"}
        line = Line(up=False, since=NOW - hours * HOUR, clock_offset_ms=None, **values)  # type: ignore[arg-type]
        return doctor.check_line(line, NOW).todo

    assert "appliance courier export" in todo(49)
    assert "appliance courier export" not in todo(47)
