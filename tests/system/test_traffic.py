"""What a hospital really sends: everything twice, in any order, from several devices; and the same by two routes."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from support.mini_system import MiniSystem
from support.power_cut_hub import Parcel, Site
from support.processes import wait_for
from support.safekeeping import Held
from support.tiny_instances import TinyInstance, make
from support.tiny_scu import TinyScu

ROOMS = ("receive", "compress", "forward", "hub")
pytestmark = pytest.mark.timeout(240)


def store_all(system: MiniSystem, instances: Sequence[TinyInstance], statuses: list[int]) -> None:
    with TinyScu(system.dicom_port) as scu:
        for instance in instances:
            statuses += [scu.store(instance)]
        scu.release()


def held(instances: Sequence[TinyInstance]) -> set[Held]:
    return {(instance.sop_instance_uid, instance.digest) for instance in instances}


def test_the_same_studies_from_three_devices_in_three_orders_arrive_once(tmp_path: Path) -> None:
    instances = [make(number // 10, number, space="51") for number in range(40)]
    with MiniSystem(tmp_path, rooms=ROOMS) as system:
        system.start(*ROOMS)
        system.await_listeners()
        statuses: list[int] = []
        senders = []
        for seed in range(3):
            order = [*instances, *instances[:10]]
            random.Random(seed).shuffle(order)
            senders.append(threading.Thread(target=store_all, args=(system, order, statuses)))
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
        assert statuses == [0] * 150
        assert system.settle(held(instances), 90.0) == []
        assert system.hub_rows("SELECT count(*) FROM instance")[0][0] == 40
        assert system.rows("SELECT count(*) FROM instance")[0][0] == 40
        assert system.rows("SELECT count(*) FROM study")[0][0] == 4


def test_the_same_uid_with_other_bytes_is_kept_beside_and_flagged_at_both_ends(tmp_path: Path) -> None:
    first, second = make(1, 1, space="52"), make(1, 1, space="52", name="Somebody^Else")
    assert first.sop_instance_uid == second.sop_instance_uid
    with MiniSystem(tmp_path, rooms=ROOMS) as system:
        system.start(*ROOMS)
        system.await_listeners()
        statuses: list[int] = []
        store_all(system, [first, second, first, second], statuses)
        assert statuses == [0] * 4
        assert system.settle(held([first, second]), 60.0) == []
        assert system.rows("SELECT count(*), min(conflict) FROM instance")[0][:] == (2, 1)
        assert system.hub_rows("SELECT count(*), min(conflict) FROM instance")[0][:] == (2, 1)


def test_the_same_parcels_by_two_routes_at_once_are_one_copy_and_one_receipt(tmp_path: Path) -> None:
    instances = [make(number // 10, number, space="53", side=128) for number in range(20)]
    with MiniSystem(tmp_path, rooms=ROOMS) as system:
        system.start("receive", "compress")
        system.await_listeners()
        store_all(system, instances, [])
        wait_for(lambda: system.rows("SELECT total(state <> 'packed') FROM instance")[0][0] == 0, "all is packed")
        parcels = [
            Parcel((system.unit_data / "parcels" / row["file"]).read_bytes(), [])
            for row in system.rows("SELECT file FROM parcel")
        ]
        system.start("hub", "forward")
        system.await_listeners()
        secret = (tmp_path / "secret").read_text()
        with contextlib.closing(Site(system.hub_port, secret)) as other_route:
            for parcel in parcels:
                _carry(other_route, parcel)
        assert system.settle(held(instances), 90.0) == []
        assert system.hub_rows("SELECT count(*) FROM parcel")[0][0] == len(parcels)
        assert system.hub_rows("SELECT count(*) FROM instance")[0][0] == 20


def _carry(site: Site, parcel: Parcel) -> None:
    """Sends it in small pieces, whatever the other route does to the same upload meanwhile."""
    for _ in range(1000):
        with contextlib.suppress(ConnectionError):
            offset = site.open(parcel)
            if offset >= len(parcel.content):
                return
            site.send(parcel, offset, 1000)
    raise AssertionError("the other route never came to the end of a parcel")
