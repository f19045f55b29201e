"""`appliance doctor`, by breaking each thing: it says what is wrong, since when, and what to do."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import rows
from support.certificates import make_certificate

from appliance.config import Dicom, Link, LinkUplink, LinkWindow, UnitConfig, write_commented
from appliance.link.allowance import Pause, Usage, allow, never, rules_of
from appliance.store_forward import doctor
from appliance.store_forward.database import FILE_NAME, open_database
from appliance.store_forward.doctor import Check, Level, check_use
from appliance.store_forward.link_use import LinkUse
from appliance.store_forward.status import PROCESSES, Disk, Line

NOW = 1_795_000_000_000
MINUTE, DAY = 60_000, 86_400_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The configuration file of a unit that has all it needs."""
    (tmp_path / "data").mkdir()
    (tmp_path / "secret").write_text("site-1.abc")
    (tmp_path / "secret").chmod(0o600)
    values = {"storage.data": str(tmp_path / "data"), "hub.secret_file": str(tmp_path / "secret")}
    values["storage.reserve_bytes"] = 1 << 20
    written = tmp_path / "appliance.toml"
    modality = '\n[[dicom.modalities]]\nname = "CT"\nae_title = "CT1"\nnetwork = "10.0.0.9"\n'
    written.write_text(write_commented(UnitConfig, values) + modality)
    return written


@pytest.fixture
def connection(path: Path) -> Iterator[sqlite3.Connection]:
    """The queue of a unit at work: four processes beat, the line is up."""
    opened = open_database(path.parent / "data")
    for name in PROCESSES:
        rows.add_process(opened, name, beat_at=NOW - 1000, started_at=NOW - DAY)
    rows.set_line(opened, since=NOW - MINUTE)
    yield opened
    opened.close()


def _examine(path: Path) -> dict[str, Check]:
    return {check.name: check for check in doctor.examine(path, NOW)}


def test_a_unit_at_work_is_all_ok(path: Path, connection: sqlite3.Connection) -> None:
    checks = doctor.examine(path, NOW)
    assert [check for check in checks if check.level is not Level.OK] == []
    assert doctor.exit_code(checks) == 0
    assert {*PROCESSES, "configuration", "data directory", "hub secret", "sandbox", "database", "spool", "disk"} <= {
        check.name for check in checks
    }


def test_each_finding_says_what_to_do_and_each_ok_says_nothing_to_do(path: Path) -> None:
    path.parent.joinpath("secret").unlink()
    for check in doctor.examine(path, NOW):
        assert bool(check.todo) == (check.level is not Level.OK), check
        assert check.said


def test_a_broken_configuration_is_the_only_finding(path: Path) -> None:
    path.write_text("[web]\nprot = 1\n")
    (check,) = doctor.examine(path, NOW)
    assert (check.name, check.level) == ("configuration", Level.FAILING)
    assert ":2:" in check.said


def test_a_unit_that_never_ran_is_a_warning(path: Path) -> None:
    checks = doctor.examine(path, NOW)
    assert checks[-1].name == "database"
    assert doctor.exit_code(checks) == 1


def test_a_missing_data_directory(path: Path) -> None:
    (path.parent / "data").rmdir()
    check = _examine(path)["data directory"]
    assert check.level is Level.FAILING
    assert "install -d" in check.todo


def test_a_data_directory_that_can_not_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    unwritable = Path("/proc/self") if os.geteuid() == 0 else tmp_path  # root may write anywhere else
    assert doctor.check_data(unwritable).level is Level.FAILING
    tmp_path.chmod(0o700)


def test_a_secret_that_everyone_may_read(path: Path, connection: sqlite3.Connection) -> None:
    (path.parent / "secret").chmod(0o644)
    check = _examine(path)["hub secret"]
    assert check.level is Level.FAILING
    assert "chmod 640" in check.todo


def test_a_process_that_is_silent_fails_since_its_last_beat(path: Path, connection: sqlite3.Connection) -> None:
    connection.execute("UPDATE process SET beat_at = ? WHERE name = 'forward'", (NOW - 5 * MINUTE,))
    check = _examine(path)["forward"]
    assert (check.level, check.since) == (Level.FAILING, NOW - 5 * MINUTE)
    assert "systemctl restart appliance" in check.todo


def test_a_process_that_never_ran_fails(path: Path, connection: sqlite3.Connection) -> None:
    connection.execute("DELETE FROM process WHERE name = 'web'")
    assert _examine(path)["web"].level is Level.FAILING


def test_a_damaged_database(path: Path, connection: sqlite3.Connection) -> None:
    study = rows.add_study(connection)
    for _ in range(200):
        rows.add_series(connection, study)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    size = (path.parent / "data" / FILE_NAME).stat().st_size
    with (path.parent / "data" / FILE_NAME).open("r+b") as file:
        file.seek(size - 3 * 4096)
        file.write(b"\xff" * 2 * 4096)
    assert _examine(path)["database"].level is Level.FAILING


def test_a_file_that_is_no_database(path: Path) -> None:
    (path.parent / "data" / FILE_NAME).write_bytes(b"no database at all" * 400)
    assert _examine(path)["database"].level is Level.FAILING


def test_a_spool_file_that_is_gone_or_short(path: Path, connection: sqlite3.Connection) -> None:
    study = rows.add_study(connection)
    series = rows.add_series(connection, study)
    spool = path.parent / "data" / "spool" / "00"
    spool.mkdir(parents=True)
    rows.add_instance(connection, study, series, file="00/whole.dcm", bytes=100)
    (spool / "whole.dcm").write_bytes(b"x" * 500)
    assert _examine(path)["spool"].level is Level.OK
    gone = rows.add_instance(connection, study, series, file="00/gone.dcm", bytes=100)
    check = _examine(path)["spool"]
    assert check.level is Level.FAILING
    assert f"instance {gone}" in check.said
    (spool / "gone.dcm").write_bytes(b"x" * 99)
    assert _examine(path)["spool"].level is Level.FAILING


@pytest.mark.parametrize(
    ("free", "level"), [(50_000, Level.OK), (4_000, Level.WARNING), (1_500, Level.WARNING), (999, Level.FAILING)]
)
def test_a_disk_that_fills(free: int, level: Level) -> None:
    assert doctor.check_disk(Disk(free=free, total=100_000, reserve=1_000)).level is level


def _line(**values: object) -> Line:
    facts: dict[str, object] = {"up": True, "since": NOW - MINUTE, "bytes_per_second": 1000.0, "round_trip_ms": 700.0}
    facts |= {"hub": "Hub", "hub_seen_at": NOW, "clock_offset_ms": 0, "problem": ""}
    return Line(**(facts | values))  # type: ignore[arg-type]


def test_a_line_that_is_down_is_a_warning_and_after_half_a_day_it_fails() -> None:
    short = doctor.check_line(_line(up=False, problem="E501"), NOW)
    assert (short.level, short.since) == (Level.WARNING, NOW - MINUTE)
    assert "safe here" in short.said
    assert doctor.check_line(_line(up=False, since=NOW - 13 * 60 * MINUTE), NOW).level is Level.FAILING


def test_a_hub_that_refuses_this_unit_fails_at_once() -> None:
    check = doctor.check_line(_line(problem="E502"), NOW)
    assert check.level is Level.FAILING
    assert "site renew" in check.todo


@pytest.mark.parametrize("problem", ["E503", "E504"])
def test_a_hub_that_is_full_or_false_fails_though_the_line_is_up(problem: str) -> None:
    check = doctor.check_line(_line(problem=problem), NOW)
    assert (check.level, problem in check.said) == (Level.FAILING, True)


def test_a_parcel_that_can_not_be_read_fails_with_the_reason(path: Path, connection: sqlite3.Connection) -> None:
    assert _examine(path)["parcels"].level is Level.OK
    connection.execute("UPDATE link SET problem = 'E206'")
    connection.execute("UPDATE process SET status = 'can''t read a parcel: Permission denied' WHERE name = 'forward'")
    check = _examine(path)["parcels"]
    assert check.level is Level.FAILING
    assert "Permission denied" in check.said
    assert _examine(path)["line"].level is Level.OK


def test_a_received_file_that_cannot_be_read_is_told_by_the_process_that_packs(
    path: Path, connection: sqlite3.Connection
) -> None:
    connection.execute("UPDATE process SET problem = 'E206', status = 'no luck' WHERE name = 'compress'")
    check = _examine(path)["parcels"]
    assert (check.level, check.said) == (Level.FAILING, "E206: no luck")
    assert "belongs to the user" in check.todo


def test_a_hub_that_was_never_reached_is_a_warning() -> None:
    assert doctor.check_line(None, NOW).level is Level.WARNING


@pytest.mark.parametrize(
    ("offset", "level", "word"),
    [(900, Level.OK, "behind"), (180_000, Level.WARNING, "behind"), (-3 * DAY, Level.WARNING, "ahead of")],
)
def test_a_clock_that_is_wrong(offset: int, level: Level, word: str) -> None:
    check = doctor.check_clock(_line(clock_offset_ms=offset), NOW)
    assert check.level is level
    assert word in check.said


def test_a_clock_before_this_program_was_written_fails_without_a_hub() -> None:
    assert doctor.check_clock(None, 1_000_000).level is Level.FAILING
    assert doctor.check_clock(None, NOW).level is Level.OK


def _with_tls(certificate: Path, key: Path) -> Dicom:
    return Dicom(tls_port=2762, tls_certificate=str(certificate), tls_key=str(key))


@pytest.mark.parametrize(("days", "level"), [(60, Level.OK), (20, Level.WARNING)])
def test_a_certificate_that_soon_expires(tmp_path: Path, days: int, level: Level) -> None:
    now = int(tmp_path.stat().st_mtime * 1000)
    assert doctor.check_certificate(_with_tls(*make_certificate(tmp_path, days=days)), now).level is level


def test_a_certificate_that_expired(tmp_path: Path) -> None:
    later = int(tmp_path.stat().st_mtime * 1000) + 2 * DAY
    check = doctor.check_certificate(_with_tls(*make_certificate(tmp_path, days=1)), later)
    assert check.level is Level.FAILING
    assert check.since is not None
    assert check.since < later


def test_a_certificate_whose_key_is_another(tmp_path: Path) -> None:
    certificate, _ = make_certificate(tmp_path, "one")
    _, key = make_certificate(tmp_path, "two")
    assert doctor.check_certificate(_with_tls(certificate, key), NOW).level is Level.FAILING


def test_a_sandbox_that_can_not_be_made_fails() -> None:
    assert doctor.check_sandbox("libseccomp.so.2 is not installed").level is Level.FAILING
    assert doctor.check_sandbox("").level is Level.OK


def test_an_unknown_device_and_no_device(path: Path, connection: sqlite3.Connection) -> None:
    rows.insert(connection, "device", calling_ae="CT9", address="10.0.0.7", called_ae="X", first_seen=1, last_seen=1)
    check = _examine(path)["devices"]
    assert check.level is Level.WARNING
    assert "CT9" not in check.said  # what a peer calls itself stays off this list
    connection.execute("DELETE FROM device")
    path.write_text(path.read_text().partition('\n[[dicom.modalities]]\nname = "CT"\n')[0])
    assert "no device may send" in _examine(path)["devices"].said


def test_a_study_that_needs_help_is_a_warning(path: Path, connection: sqlite3.Connection) -> None:
    rows.add_study(connection, identity_conflict=1)
    check = _examine(path)["studies"]
    assert check.level is Level.WARNING
    assert "Needs help" in check.todo


def test_the_exit_code_is_that_of_the_worst() -> None:
    ok, warning, failing = (Check(name="x", level=level, said="") for level in Level)
    assert [doctor.exit_code(c) for c in ([ok], [ok, warning], [failing, warning], [])] == [0, 1, 2, 0]


def _use(link: Link, pause: Pause | None = None) -> Check:
    rules = rules_of(link, "UTC")
    allowance = allow(rules, Usage(), pause, NOW)
    use = LinkUse(month="2026-03", uplink="", carried=(), pause=pause, allowance=allowance)
    return check_use(use, never(rules), NOW, rules.zone)


def test_a_pause_is_a_warning_and_hours_that_are_not_now_are_not() -> None:
    assert _use(Link()).level is Level.OK
    paused = _use(Link(), Pause(at=NOW - 5, by="Grace"))
    assert (paused.level, paused.since, paused.said) == (
        Level.WARNING,
        NOW - 5,
        "Paused by Grace until somebody resumes it",
    )
    night = LinkWindow(opens="00:00", closes="00:01"), LinkWindow(opens="12:00", closes="12:01")
    assert _use(Link(windows=night)).level is Level.OK


def test_rules_that_can_never_be_met_fail() -> None:
    found = _use(Link(windows=(LinkWindow(priorities=("urgent",)),)))
    assert found.level is Level.FAILING
    assert "routine, prior" in found.said
    assert _use(Link(uplinks=(LinkUplink(name="SIM", monthly_mb=0),))).level is Level.FAILING
