"""A unit tells a real hub of its studies before they are there, and does what the hub wishes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pydicom
import pytest
from support import data, rows
from support.hub import RunningHub
from support.images import source_of
from support.sending_unit import SendingUnit, noise

from appliance.clock import now_ms
from appliance.compress.pool import WorkerPool
from appliance.compress.values import ParcelContext
from appliance.config import Compress, Link, UnitConfig
from appliance.hub.index import wishes as hub_wishes
from appliance.hub.index.database import Index
from appliance.model.notice import WishKind
from appliance.model.priority import Priority
from appliance.store_forward import wishes
from appliance.store_forward.database import transaction

STUDY, OTHER = "2.25.1.1", "2.25.1.2"


@pytest.fixture
def unit(tmp_path: Path, hub: RunningHub) -> SendingUnit:
    return SendingUnit(tmp_path / "unit", hub.url, hub.secret)


def receive(unit: SendingUnit, uid: str, priority: Priority = Priority.ROUTINE) -> None:
    """One instance came, and nothing of the study is packed."""
    with unit.database() as connection, transaction(connection):
        came = {"first_received_at": now_ms(), "priority": int(priority)}
        study = rows.add_study(connection, study_instance_uid=uid, patient_name="Banda^Grace", **came)
        rows.add_instance(connection, study, rows.add_series(connection, study, series_number="3", modality="CT"))


def told(hub: RunningHub, uid: str) -> dict[str, Any]:
    """What the hub knows of the study; empty when nothing."""
    found = hub.rows("SELECT content FROM notice WHERE study_instance_uid = ?", uid)
    return json.loads(found[0]["content"]) if found else {}


def wish(hub: RunningHub, uid: str, kind: WishKind, series: str = "") -> None:
    """As `appliance hub wish` does, in a process of its own."""
    index = Index.open(hub.config)
    with index.write() as connection:
        hub_wishes.add(connection, "site-1", uid, series=series, kind=kind, by="a person", now=now_ms())
    index.close()


def queue(unit: SendingUnit, study: int, number: int) -> int:
    """A parcel of the study is packed now, as the packing process does."""
    packed = unit.pack(study, [noise(study, number, 20_000)])
    return unit.queue(packed, also=lambda connection, row: wishes.apply(connection, row, now_ms()))


def test_the_hub_is_told_of_a_study_before_anything_of_it_is_packed(unit: SendingUnit, hub: RunningHub) -> None:
    receive(unit, STUDY)
    with unit.forward():
        unit.await_true(lambda: bool(told(hub, STUDY)), "the hub is told")
    notice = told(hub, STUDY)
    assert (notice["patient_name"], notice["instances"], notice["delivered"]) == ("Banda^Grace", 1, 0)
    assert [each["series_number"] for each in notice["series"]] == ["3"]
    assert hub.rows("SELECT * FROM study") == []


def test_notices_take_a_small_share_of_the_line_and_that_of_a_stat_study_waits_for_no_other(
    unit: SendingUnit, hub: RunningHub
) -> None:
    for number in range(10):
        receive(unit, f"2.25.2.{number}")
    with unit.forward():
        unit.await_true(lambda: bool(told(hub, "2.25.2.0")), "the hub is told of the first")
        receive(unit, STUDY, Priority.STAT)
        unit.await_true(lambda: bool(told(hub, STUDY)), "the hub is told of the stat study")
        assert len(hub.rows("SELECT * FROM notice")) < 11


def test_what_the_hub_does_not_want_now_stays_here_and_goes_when_it_asks(unit: SendingUnit, hub: RunningHub) -> None:
    receive(unit, STUDY)
    with unit.forward():
        unit.await_true(lambda: bool(told(hub, STUDY)), "the hub is told")
        wish(hub, STUDY, WishKind.ENOUGH)
        unit.await_value(1, "SELECT count(*) FROM event WHERE kind = 'wish_enough'", seconds=10)
        held = queue(unit, 1, 1)
        goes = queue(unit, 2, 1)
        unit.await_value("delivered", "SELECT state FROM parcel WHERE id = ?", goes)
        assert unit.value("SELECT state FROM parcel WHERE id = ?", held) == "built"
        assert unit.value("SELECT held_at FROM parcel WHERE id = ?", held) is not None
        wish(hub, STUDY, WishKind.ALL)
        unit.await_value("delivered", "SELECT state FROM parcel WHERE id = ?", held)
    assert unit.rows("SELECT kind FROM event WHERE kind LIKE 'wish%' ORDER BY id") == [
        {"kind": "wish_enough"},
        {"kind": "wish_all"},
    ]


def test_wishes_that_were_made_while_the_unit_was_off_are_taken_once_after_it_starts(
    unit: SendingUnit, hub: RunningHub
) -> None:
    receive(unit, STUDY)
    wish(hub, STUDY, WishKind.FIRST, "3")
    for _ in range(2):
        with unit.forward():
            unit.await_value(1, "SELECT number FROM wish_known")
            unit.await_true(lambda: bool(told(hub, STUDY)), "the hub is told")
    assert unit.value("SELECT count(*) FROM event WHERE kind = 'wish_first' AND detail = '3'") == 1
    parcel = queue(unit, 1, 1)
    assert unit.value("SELECT rank FROM parcel WHERE id = ?", parcel) == -1


def test_wishes_for_other_sites_are_not_ours(unit: SendingUnit, hub: RunningHub) -> None:
    receive(unit, STUDY)
    with unit.forward():
        unit.await_true(lambda: bool(told(hub, STUDY)), "the hub is told")
        wish(hub, OTHER, WishKind.FIRST)
        unit.await_value(1, "SELECT number FROM wish_known")
    assert unit.value("SELECT count(*) FROM event") == 0


SLICES = tuple(range(30, 110, 5))
CAP_KBIT = 400


def sending_slowly(unit: SendingUnit) -> UnitConfig:
    return msgspec.structs.replace(unit.config, link=Link(rate_kbit=CAP_KBIT))


def queue_series(unit: SendingUnit, pool: WorkerPool) -> str:
    """A part of the CT, some slices a parcel, packed and waiting. Returns the study's UID."""
    paths = [data.series("ct-head-philips-140")[number] for number in SLICES]
    uid = str(pydicom.dcmread(paths[0], specific_tags=["StudyInstanceUID"]).StudyInstanceUID)
    left = [source_of(path, keep_header=number == 0) for number, path in enumerate(paths)]
    with unit.database() as connection:
        study = rows.add_study(
            connection, study_instance_uid=uid, first_received_at=now_ms(), last_received_at=now_ms()
        )
        series = rows.add_series(connection, study, series_number="3", modality="CT")
        while left:
            context = ParcelContext(study_instance_uid=uid, site="site-1", priority=Priority.ROUTINE)
            path = unit.data / "parcels" / f"{len(left):032x}.parcel"
            packed = pool.pack(left, context, None, path)
            facts = {"digest": packed.digest, "data_bytes": packed.data_bytes, "preview_bytes": packed.preview_bytes}
            here = rows.add_parcel(
                connection, study, bytes=packed.bytes, instances=packed.instances, file=path.name, **facts
            )
            for source in left[: packed.instances]:
                values = {"sop_instance_uid": source.sop_instance_uid, "digest": source.digest, "bytes": source.bytes}
                rows.add_instance(connection, study, series, state="packed", parcel_id=here, **values)
            left = left[packed.instances :]
    return uid


@pytest.mark.needs_series
def test_a_preview_of_each_slice_is_at_the_hub_within_the_first_tenth_of_the_bytes(
    unit: SendingUnit, hub: RunningHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    with WorkerPool(Compress(parcel_instances=8)) as pool:
        uid = queue_series(unit, pool)
    config = sending_slowly(unit)
    monkeypatch.setattr(SendingUnit, "config", property(lambda _: config))
    total = int(unit.value("SELECT sum(bytes) FROM parcel"))
    durable: list[int] = []

    def fronts_are_here() -> bool:
        durable.append(int(hub.rows('SELECT coalesce(sum("offset"), 0) AS held FROM parcel')[0]["held"]))
        return len(hub.rows("SELECT 1 FROM preview WHERE study_instance_uid = ?", uid)) == len(SLICES)

    with unit.forward():
        unit.await_true(fronts_are_here, "every slice has a preview")
        unit.await_true(lambda: bool(told(hub, uid)), "the hub is told")
    assert hub.rows("SELECT * FROM instance") == []
    assert unit.value("SELECT sum(preview_bytes) FROM parcel") < 0.05 * total
    assert told(hub, uid)["instances"] == len(SLICES)
    assert durable[-1] < 0.1 * total
