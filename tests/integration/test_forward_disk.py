"""The unit's disk is wholly full while it sends: `forward` can write nothing of what it does, waits, and goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.hub import RunningHub
from support.processes import MIB, wait_for
from support.recording_proxy import RecordingProxy
from support.sending_unit import SendingUnit, noise
from support.small_disk import SmallDisk

pytestmark = pytest.mark.needs_root
SIZE = 400_000


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with SmallDisk(tmp_path / "disk", 32 * MIB) as made:
        yield made


@pytest.fixture
def proxy(hub: RunningHub) -> Iterator[RecordingProxy]:
    assert hub.hub
    made = RecordingProxy(hub.hub.port)
    yield made
    made.close()


@pytest.fixture
def unit(disk: SmallDisk, hub: RunningHub, proxy: RecordingProxy) -> SendingUnit:
    made = SendingUnit(disk.directory / "unit", f"http://127.0.0.1:{proxy.port}", hub.secret)
    for study in range(3):
        made.add_parcel(study, [noise(study, 1, SIZE)], plain=True)
    return made


class Log:
    """The lines that the process wrote so far."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self._lines: list[dict[str, object]] = []

    def count(self, event: str) -> int:
        said = self._capsys.readouterr().err.splitlines()
        self._lines += [json.loads(line) for line in said if line.startswith("{")]
        return sum(line["event"] == event for line in self._lines)


@pytest.mark.parametrize("moment", ["before", "meanwhile"])
def test_it_waits_says_so_once_and_goes_on(
    unit: SendingUnit, disk: SmallDisk, proxy: RecordingProxy, moment: str, capsys: pytest.CaptureFixture[str]
) -> None:
    log = Log(capsys)
    if moment == "before":
        disk.fill(leave=0)
    with unit.forward():
        if moment == "meanwhile":
            wait_for(lambda: proxy.seen.patches, "a parcel is under way")
            disk.fill_until_full_for(unit.data / "appliance.db")
        wait_for(lambda: log.count("the queue can't be written"), "it says that it waits")
        disk.make_room()
        unit.await_delivered()
        wait_for(lambda: log.count("the queue can be written again"), "it says that it goes on")
    assert log.count("the queue can't be written") == 1
    assert log.count("the queue can be written again") == 1
    assert proxy.seen.sent_again == []


def test_it_stops_at_once_though_nothing_can_be_written(
    unit: SendingUnit, disk: SmallDisk, capsys: pytest.CaptureFixture[str]
) -> None:
    log = Log(capsys)
    with unit.forward():
        unit.await_value("forward", "SELECT name FROM process")
        disk.fill_until_full_for(unit.data / "appliance.db")
        wait_for(lambda: log.count("the queue can't be written"), "it says that it waits")
