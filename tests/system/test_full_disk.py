"""A real small disk fills up, at a unit and at a hub, at whatever write comes next; then somebody makes room."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.mini_system import MiniSystem
from support.processes import MIB, wait_for
from support.safekeeping import unit_problems
from support.small_disk import SmallDisk

pytestmark = [pytest.mark.needs_root, pytest.mark.timeout(400)]
RESERVE = MIB
# Bytes left: at the reserve, where nothing new is taken; and below it, as when something else fills the disk, so that
# the spool, the parcels, the database's log and the hub's staging and index each meet it.
LEVELS = [RESERVE - 65536, 600_000, 200_000, 60_000, 16_384, 0]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with SmallDisk(tmp_path / "disk", 192 * MIB) as made:
        yield made


def test_a_unit_whose_disk_is_full_refuses_loses_nothing_and_goes_on(disk: SmallDisk, tmp_path: Path) -> None:
    data = disk.directory / "unit"
    with MiniSystem(tmp_path / "system", unit_data=data, rooms=("receive", "compress", "forward", "hub")) as system:
        system.start("hub", "receive", "compress", "forward")
        system.await_listeners()
        modality = system.modality("71", side=64)
        wait_for(lambda: len(modality.acknowledged) > 20, "some instances are stored")
        for level in LEVELS:
            refused = modality.refused()
            disk.fill(leave=level)
            wait_for(lambda refused=refused: modality.refused() > refused, f"a store is refused with {level} left")
            assert unit_problems(data, set(modality.acknowledged)) == []
            disk.make_room()
            stored = len(modality.acknowledged)
            wait_for(lambda stored=stored: len(modality.acknowledged) > stored + 5, "it stores again")
        modality.stop()
        assert set(modality.statuses) <= {0x0000, 0xA700}
        assert system.ended() == []
        assert system.settle(modality.acknowledged, 120.0) == []


def test_a_disk_that_is_wholly_full_makes_every_process_wait_and_none_end(disk: SmallDisk, tmp_path: Path) -> None:
    data = disk.directory / "unit"
    with MiniSystem(tmp_path / "system", unit_data=data, rooms=("receive", "compress", "forward", "hub")) as system:
        system.start("hub", "receive", "compress", "forward")
        system.await_listeners()
        modality = system.modality("73", side=64)
        wait_for(lambda: system.delivered() > 20, "some instances are delivered", 60.0)

        def still_full() -> None:
            """What a process removes, or SQLite's log when it begins anew, is room for somebody: that goes too."""
            disk.fill_until_full_for(data / "appliance.db")

        for _ in range(3):
            still_full()
            refused = modality.refused()
            wait_for(lambda refused=refused: modality.refused() > refused + 5, "stores are refused")
            for name in ("compress", "forward"):
                wait_for(lambda name=name: still_full() or waits(system, name), f"{name} says that it waits")
            disk.make_room()
            delivered = system.delivered()
            wait_for(lambda delivered=delivered: system.delivered() > delivered + 20, "it delivers again", 60.0)
        modality.stop()
        assert system.ended() == []
        assert system.settle(modality.acknowledged, 120.0) == []


def waits(system: MiniSystem, name: str) -> bool:
    """The last that its log says of the disk is that something can't be written: the queue, or a parcel."""
    marks = ('"the queue can', '"a parcel can')
    said = [line for line in system.last_log(name).splitlines() if any(mark in line for mark in marks)]
    return bool(said) and "can't" in said[-1]


def test_a_hub_whose_disk_is_full_makes_units_wait_loses_nothing_and_goes_on(disk: SmallDisk, tmp_path: Path) -> None:
    data = disk.directory / "hub"
    with MiniSystem(
        tmp_path / "system", hub_data=data, rooms=("receive", "compress", "forward", "hub"), proxied=True
    ) as system:
        system.start("hub", "receive", "compress", "forward")
        system.await_listeners()
        modality = system.modality("72", side=64, pause=0.2)
        wait_for(lambda: system.delivered() > 5, "some instances are delivered", 60.0)
        for level in [60 * MIB, *LEVELS[1::2]]:  # a parcel may not be unpacked with less than 64 MiB free
            disk.fill(leave=level)
            stored = len(modality.acknowledged)
            wait_for(lambda stored=stored: len(modality.acknowledged) > stored + 8, "the unit goes on storing")
            disk.make_room()
            delivered = system.delivered()
            wait_for(lambda delivered=delivered: system.delivered() > delivered, "it delivers again", 120.0)
        modality.stop()
        assert system.ended() == []
        assert system.settle(modality.acknowledged, 120.0) == []
        assert system.rows("SELECT count(*) FROM instance WHERE state = 'quarantined'")[0][0] == 0
        assert system.proxy
        assert system.proxy.seen.sent_again == []
