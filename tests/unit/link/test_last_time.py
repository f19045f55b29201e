"""The time that is kept for the next start: never backwards."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import ClockError
from appliance.link import last_time
from appliance.link.last_time import EARLIEST_MS, FILE_NAME, KEEP_SECONDS, LATEST_MS, Keeper, keep, read, to_keep

NOW = 1_800_000_000_000
TIMES = st.integers(EARLIEST_MS, LATEST_MS)


@given(st.lists(TIMES, min_size=1))
def test_a_clock_that_nobody_set_never_takes_the_kept_time_back(times: list[int]) -> None:
    kept: int | None = None
    for now in times:
        after = to_keep(kept, now, clock_set=False)
        assert after >= now
        assert kept is None or after >= kept
        kept = after


@given(TIMES, TIMES)
def test_a_clock_that_ntp_set_is_right_even_when_it_is_earlier(kept: int, now: int) -> None:
    assert to_keep(kept, now, clock_set=True) == now


def test_what_is_kept_is_read_again(tmp_path: Path) -> None:
    assert read(tmp_path) is None
    keep(tmp_path, NOW)
    assert read(tmp_path) == NOW
    keep(tmp_path, NOW + 1)
    assert read(tmp_path) == NOW + 1
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]


@pytest.mark.parametrize(
    "text", [b"", b"yesterday", b"-5", b"0", str(LATEST_MS + 1).encode(), b"\xff" * 40, "٣".encode()]
)
def test_a_file_that_holds_no_time_is_refused_and_says_what_to_do(tmp_path: Path, text: bytes) -> None:
    (tmp_path / FILE_NAME).write_bytes(text)
    with pytest.raises(ClockError, match="holds no time") as raised:
        last_time.restore(tmp_path, NOW)
    assert "rm " in raised.value.hint


def test_the_clock_is_never_set_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(last_time.time, "clock_settime_ns", lambda *_: pytest.fail("the clock was set"))
    keep(tmp_path, NOW)
    for now in (NOW, NOW + 1, NOW + 10**9):
        assert last_time.restore(tmp_path, now) is None


def test_the_clock_is_set_forward_to_the_time_that_was_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    monkeypatch.setattr(last_time.time, "clock_settime_ns", lambda _clock, at: calls.append(at))
    keep(tmp_path, NOW)
    assert last_time.restore(tmp_path, NOW - 1) == NOW
    assert calls == [NOW * 1_000_000]


@pytest.mark.needs_root
def test_without_the_right_to_set_the_clock_it_is_refused_clearly(tmp_path: Path) -> None:
    file, data = tmp_path / "unit.toml", tmp_path / "data"
    data.mkdir()
    keep(data, LATEST_MS)  # any clock of today is behind it
    file.write_text(f'[storage]\ndata = "{data}"\n')
    command = ["setpriv", "--bounding-set", "-sys_time", "--inh-caps", "-sys_time", sys.executable, "-m"]
    command += ["appliance.cli", "--config", str(file), "clock", "restore"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 3
    assert "E207" in done.stderr
    assert "CAP_SYS_TIME" in done.stderr


def test_it_is_kept_each_minute(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path)
    keeper.turn(0.0, NOW, clock_set=False)
    keeper.turn(KEEP_SECONDS - 1, NOW + 59_000, clock_set=False)
    assert read(tmp_path) == NOW
    keeper.turn(KEEP_SECONDS, NOW + 60_000, clock_set=False)
    assert read(tmp_path) == NOW + 60_000


def test_a_clock_of_the_last_century_is_not_kept(tmp_path: Path) -> None:
    Keeper(tmp_path).turn(0.0, 0, clock_set=False)
    assert read(tmp_path) is None


def test_a_disk_that_takes_nothing_is_no_reason_to_end(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path / "gone")
    keeper.turn(0.0, NOW, clock_set=True)
    assert keeper.kept is None


def test_the_mark_of_timesyncd_says_that_the_clock_was_set(tmp_path: Path) -> None:
    (tmp_path / "synchronized").touch()
    assert last_time.is_set(tmp_path / "synchronized")


def test_the_kernel_is_asked_whether_the_clock_is_in_step(tmp_path: Path) -> None:
    said = None
    with contextlib.suppress(OSError):
        said = subprocess.run(["adjtimex", "-p"], capture_output=True, text=True, timeout=10, check=False).stdout
    found = last_time.is_set(tmp_path / "none")
    assert isinstance(found, bool)
    if said and "status:" in said:
        status = int(said.split("status:")[1].split()[0])
        assert found is not bool(status & 0x40)
