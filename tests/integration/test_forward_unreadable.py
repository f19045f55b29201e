"""A parcel's file that is there and can't be read: it waits with a reason, and is not packed anew."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.bad_disk import a_disk_that_fails, without_the_rights_of_root
from support.hub import RunningHub
from support.processes import write_unit
from support.sending_unit import Packed, SendingUnit, noise

from appliance.model.states import ParcelEvent
from appliance.store_forward import verdict_desk
from appliance.store_forward.database import transaction
from appliance.store_forward.queue import move_parcel

pytestmark = pytest.mark.needs_root
SIZE = 100_000


@pytest.fixture
def unit(tmp_path: Path, hub: RunningHub) -> SendingUnit:
    return SendingUnit(tmp_path / "unit", hub.url, hub.secret)


def test_a_failing_disk_is_waited_for_and_named_while_the_rest_flows(
    unit: SendingUnit, hub: RunningHub, capsys: pytest.CaptureFixture[str]
) -> None:
    packed = unit.pack(1, [noise(1, 1, SIZE)], plain=True)
    parcel, good = unit.queue(packed), unit.add_parcel(2, [noise(2, 1, SIZE)], plain=True)
    with unit.forward():
        with a_disk_that_fails(packed.path):
            unit.await_value("delivered", "SELECT state FROM parcel WHERE id = ?", good)
            unit.await_value("E206", "SELECT problem FROM link")
            unit.await_value("can't read a parcel: Input/output error", "SELECT status FROM process")
            assert unit.value("SELECT state FROM parcel WHERE id = ?", parcel) == "open"
        unit.await_value("delivered", "SELECT state FROM parcel WHERE id = ?", parcel)
        unit.await_value("", "SELECT problem FROM link")
    assert capsys.readouterr().err.count("can't be read") == 1
    assert unit.value("SELECT count(*) FROM parcel") == 2


def test_files_of_another_owner_are_waited_for_and_open_no_upload(
    unit: SendingUnit, hub: RunningHub, tmp_path: Path
) -> None:
    files = []
    for study in range(12):
        packed = unit.pack(study, [noise(study, 1, SIZE)], plain=True)
        packed.path.chmod(0)
        unit.queue(packed)
        files.append(packed.path)
    config = tmp_path / "unit.toml"
    write_unit(config, unit.data, 11112, hub__url=unit.url, hub__secret_file=str(unit.secret_file))
    with without_the_rights_of_root(config, "forward"):
        unit.await_value("E206", "SELECT problem FROM link")
        unit.await_value("can't read a parcel: Permission denied", "SELECT status FROM process")
        assert unit.rows("SELECT DISTINCT state FROM parcel") == [{"state": "built"}]
        assert hub.rows("SELECT * FROM parcel") == []
        for file in files:
            file.chmod(0o640)
        unit.await_delivered()


def test_whose_fault_other_bytes_are_is_told_when_the_file_can_be_read(
    unit: SendingUnit, hub: RunningHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verdict_desk, "_FAULT_SECONDS", 0.2)
    packed = unit.pack(1, [noise(1, 1, SIZE)], plain=True)
    parcel = unit.queue(packed)
    send_other_bytes(hub, packed)
    with unit.database() as connection, transaction(connection):
        for event in (ParcelEvent.OPEN, ParcelEvent.COMPLETE):
            move_parcel(connection, parcel, event)
    with unit.forward():
        with a_disk_that_fails(packed.path):
            unit.await_value("E206", "SELECT problem FROM link")
            assert unit.value("SELECT state FROM parcel WHERE id = ?", parcel) == "uploaded"
        unit.await_delivered()  # our bytes were right: they go again
    assert unit.value("SELECT count(*) FROM parcel") == 1


def send_other_bytes(hub: RunningHub, packed: Packed) -> None:
    """The hub has, and refused, other bytes under the digest of this parcel."""
    damaged = bytearray(packed.path.read_bytes())
    damaged[5000:5004] = b"\0\0\0\0"
    client, digest = hub.client(), packed.parcel.digest.hex()
    created = client.create(len(damaged), digest)
    assert client.patch(created.headers["location"], created.offset, bytes(damaged)).status == 204
    assert client.verdict(digest)["refusal"] == "digest"
