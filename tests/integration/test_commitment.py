"""Storage commitment: Orthanc and pynetdicom ask, hear on their association or on another, and lose no promise."""

from __future__ import annotations

import queue
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset
from support import data, tiny_instances
from support.modality import Ears, ask, associated, listening, request
from support.orthanc import orthanc
from support.processes import free_port, listens, wait_for, write_unit
from support.receiving import EVERYONE, queue_of, receiving, rows, unit_config
from support.tiny_instances import TinyInstance
from support.tiny_scu import AssociationRefusedError, TinyScu

from appliance.config import Modality, UnitConfig
from appliance.model.states import InstanceEvent
from appliance.store_forward.database import transaction
from appliance.store_forward.queue import move_instances
from appliance.store_forward.receive import Receiver

INSTANCES = [tiny_instances.make(1, number) for number in range(3)]
UIDS = {instance.sop_instance_uid for instance in INSTANCES}


def store(port: int, instances: Iterable[TinyInstance] = INSTANCES) -> None:
    with TinyScu(port) as scu:
        assert all(scu.store(instance) == 0 for instance in instances)


def receipts(where: Path, uids: Iterable[str] = UIDS) -> None:
    """The hub has these: what `forward` writes of it."""
    with queue_of(where) as connection, transaction(connection):
        for uid in uids:
            (number,) = connection.execute("SELECT id FROM instance WHERE sop_instance_uid = ?", (uid,)).fetchone()
            connection.execute("UPDATE instance SET hub_held_at = 1, delivered_at = 1 WHERE id = ?", (number,))
            move_instances(connection, [number], InstanceEvent.RECEIPT)


def open_requests(where: Path) -> int:
    return int(rows(where, "SELECT count(*) FROM commitment WHERE told_at IS NULL")[0][0])


def config_of(where: Path, level: str, report_port: int = 0) -> UnitConfig:
    return unit_config(where, commitment=level, report_port=report_port)


@contextmanager
def in_the_box(where: Path, level: str = "box", report_port: int = 0) -> Iterator[tuple[Receiver, Ears]]:
    """A receiver that holds INSTANCES."""
    with receiving(config_of(where, level, report_port)) as receiver:
        store(receiver.port)
        yield receiver, Ears()


def test_safe_in_the_box_is_reported_at_once_on_the_association_that_asked(tmp_path: Path) -> None:
    with in_the_box(tmp_path) as (receiver, ears), associated(receiver.port, ears) as association:
        for _ in range(3):  # and it goes on
            asked = request(INSTANCES)
            assert ask(association, asked) == 0
            heard = ears.next()
            assert (heard.event_type, heard.safe, heard.failed) == (1, UIDS, {})
            assert heard.information.TransactionUID == asked.TransactionUID
            assert "FailedSOPSequence" not in heard.information
        wait_for(lambda: not open_requests(tmp_path), "all reports are taken")


def test_who_releases_at_once_is_called_on_another_association(tmp_path: Path) -> None:
    port = free_port()
    with in_the_box(tmp_path, report_port=port) as (receiver, ears), listening(port, ears):
        with associated(receiver.port, Ears()) as association:
            assert ask(association, request(INSTANCES)) == 0
        heard = ears.next()
        assert (heard.event_type, heard.safe, heard.by_listener) == (1, UIDS, True)
        wait_for(lambda: not open_requests(tmp_path), "the report is taken")


def test_safe_at_the_hub_waits_for_every_receipt(tmp_path: Path) -> None:
    port = free_port()
    with in_the_box(tmp_path, "hub", port) as (receiver, ears), listening(port, ears):
        with associated(receiver.port, ears) as association:
            assert ask(association, request(INSTANCES)) == 0
        first, *rest = sorted(UIDS)
        receipts(tmp_path, [first])
        with pytest.raises(queue.Empty):
            ears.heard.get(timeout=2.5)
        receipts(tmp_path, rest)
        heard = ears.next()
        assert (heard.event_type, heard.safe, heard.by_listener) == (1, UIDS, True)


def test_receipts_that_come_while_the_association_is_open_are_told_on_it(tmp_path: Path) -> None:
    with in_the_box(tmp_path, "hub") as (receiver, ears), associated(receiver.port, ears) as association:
        assert ask(association, request(INSTANCES)) == 0
        receipts(tmp_path)
        assert ears.next().by_listener is False


def test_what_is_not_here_or_of_another_class_fails_with_its_reason_and_the_rest_is_safe(tmp_path: Path) -> None:
    with in_the_box(tmp_path) as (receiver, ears), associated(receiver.port, ears) as association:
        asked = request([*INSTANCES, tiny_instances.make(9, 9)])
        asked.ReferencedSOPSequence[0].ReferencedSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
        assert ask(association, asked) == 0
        heard = ears.next()
        assert heard.event_type == 2
        other, *safe = [instance.sop_instance_uid for instance in INSTANCES]
        assert heard.failed == {other: 0x0119, tiny_instances.make(9, 9).sop_instance_uid: 0x0112}
        assert heard.safe == set(safe)


def test_a_damaged_instance_is_not_safe(tmp_path: Path) -> None:
    with in_the_box(tmp_path) as (receiver, ears):
        with queue_of(tmp_path) as connection, transaction(connection):
            move_instances(connection, [1], InstanceEvent.QUARANTINE)
            connection.execute("UPDATE instance SET reason = 'E203' WHERE id = 1")
        with associated(receiver.port, ears) as association:
            assert ask(association, request(INSTANCES)) == 0
            assert ears.next().failed == {INSTANCES[0].sop_instance_uid: 0x0110}


def test_a_transaction_uid_that_was_used_fails_whole(tmp_path: Path) -> None:
    with in_the_box(tmp_path) as (receiver, ears), associated(receiver.port, ears) as association:
        for expected in ({}, dict.fromkeys(UIDS, 0x0131)):
            assert ask(association, request(INSTANCES, "2.25.77")) == 0
            assert ears.next().failed == expected


def test_the_same_request_again_before_its_report_is_one_and_another_under_its_uid_fails(tmp_path: Path) -> None:
    with in_the_box(tmp_path, "hub") as (receiver, ears), associated(receiver.port, ears) as association:
        assert [ask(association, request(INSTANCES, "2.25.77")) for _ in range(2)] == [0, 0]
        assert ask(association, request(INSTANCES[:1], "2.25.77")) == 0
        assert ears.next().failed == {INSTANCES[0].sop_instance_uid: 0x0131}
        receipts(tmp_path)
        assert ears.next().safe == UIDS
        wait_for(lambda: not open_requests(tmp_path), "no request is open")
        assert ears.heard.empty()


def without(keyword: str) -> Dataset:
    asked = request(INSTANCES)
    delattr(asked, keyword)
    return asked


def changed(keyword: str, value: Any) -> Dataset:
    asked = request(INSTANCES)
    setattr(asked, keyword, value)
    return asked


def with_bad_item(keyword: str, value: str | None) -> Dataset:
    asked = request(INSTANCES)
    if value is None:
        delattr(asked.ReferencedSOPSequence[1], keyword)
    else:
        asked.ReferencedSOPSequence[1][keyword]._value = value
    return asked


@pytest.mark.parametrize(
    ("asked", "how", "status"),
    [
        (without("TransactionUID"), {}, 0x0120),
        (changed("TransactionUID", ""), {}, 0x0121),
        (without("ReferencedSOPSequence"), {}, 0x0120),
        (changed("ReferencedSOPSequence", []), {}, 0x0121),
        (with_bad_item("ReferencedSOPInstanceUID", None), {}, 0x0120),
        (with_bad_item("ReferencedSOPInstanceUID", "../../etc/passwd"), {}, 0x0115),
        (request(INSTANCES), {"action": 2}, 0x0123),
        (request(INSTANCES), {"instance": "1.2.3"}, 0x0112),
    ],
)
def test_a_malformed_request_gets_the_standards_status_and_leaves_no_promise(
    tmp_path: Path, asked: Dataset, how: dict[str, Any], status: int
) -> None:
    with in_the_box(tmp_path) as (receiver, ears), associated(receiver.port, ears) as association:
        assert ask(association, asked, **how) == status
        assert not rows(tmp_path, "SELECT 1 FROM commitment")
        assert ask(association, request(INSTANCES)) == 0  # and the association goes on
        assert ears.next().safe == UIDS


def test_a_device_that_is_not_allowed_can_ask_for_nothing(tmp_path: Path) -> None:
    contexts = (("1.2.840.10008.1.20.1", "1.2.840.10008.1.2"),)
    with in_the_box(tmp_path) as (receiver, _):
        with pytest.raises(AssociationRefusedError):
            TinyScu(receiver.port, contexts=contexts, calling=b"STRANGER")
        with TinyScu(receiver.port, contexts=contexts):
            pass  # an allowed one is let in with the same


def test_a_report_that_is_refused_is_told_again_until_it_is_taken(tmp_path: Path) -> None:
    port = free_port()
    with in_the_box(tmp_path, report_port=port) as (receiver, ears), listening(port, ears):
        ears.status = 0x0110
        with associated(receiver.port, ears) as association:
            assert ask(association, request(INSTANCES)) == 0
            assert ears.refused.get(timeout=20) == 0x0110
        ears.status = 0
        assert ears.next().by_listener
        wait_for(lambda: not open_requests(tmp_path), "the report is taken")
        assert rows(tmp_path, "SELECT tries FROM commitment")[0][0] >= 1


def test_a_destination_that_hangs_holds_up_no_other(tmp_path: Path) -> None:
    """Its listener takes the connection and never says a word."""
    port, hung = free_port(), socket.create_server(("127.0.0.1", 0))
    silent = Modality(name="Silent", ae_title="SILENT", network="127.0.0.1", report_port=hung.getsockname()[1])
    config = unit_config(tmp_path, commitment="box", report_port=port, modalities=(silent, EVERYONE))
    ears = Ears()
    with hung, receiving(config) as receiver, listening(port, ears):
        store(receiver.port)
        for title in ("SILENT", "TEST"):
            with associated(receiver.port, Ears(), calling=title) as association:
                assert ask(association, request(INSTANCES)) == 0
        assert ears.next().safe == UIDS
        untold = "SELECT calling_ae FROM commitment WHERE told_at IS NULL"
        wait_for(lambda: rows(tmp_path, untold) == [("SILENT",)], "only the silent one was not told")


def test_a_request_of_thousands_of_instances_is_answered_whole(tmp_path: Path) -> None:
    many = [TinyInstance(f"2.25.5.{number}", b"") for number in range(5000)]
    with in_the_box(tmp_path) as (receiver, ears), associated(receiver.port, ears) as association:
        assert ask(association, request([*many, *INSTANCES])) == 0
        heard = ears.next()
        assert (heard.safe, len(heard.failed)) == (UIDS, 5000)


@contextmanager
def process(config: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """`appliance receive` in a process of its own."""
    with (config.parent / "receive.log").open("ab") as log:
        running = subprocess.Popen(
            [sys.executable, "-m", "appliance.cli", "--config", str(config), "receive"], stdout=log, stderr=log
        )
        try:
            wait_for(lambda: listens(port), "receive listens")
            yield running
        finally:
            running.kill()
            running.wait(30)


def test_a_promise_survives_kill_9_between_request_and_report(tmp_path: Path) -> None:
    port, report_port, where = free_port(), free_port(), tmp_path / "unit"
    config = write_unit(tmp_path / "unit.toml", where, port, dicom__commitment="hub", dicom__report_port=report_port)
    asked, ears = request(INSTANCES), Ears()
    with process(config, port) as running:
        store(port)
        with associated(port, ears) as association:
            assert ask(association, asked) == 0
            running.send_signal(signal.SIGKILL)
            running.wait(30)
    receipts(where)  # the line was up meanwhile
    with listening(report_port, ears), process(config, port):
        heard = ears.next()
        assert (heard.safe, heard.information.TransactionUID) == (UIDS, asked.TransactionUID)
        wait_for(lambda: not open_requests(where), "the report is taken")
    with listening(report_port, ears), process(config, port), pytest.raises(queue.Empty):
        ears.heard.get(timeout=3)  # once is enough


@pytest.mark.parametrize("level", ["box", "hub"])
def test_orthanc_asks_and_hears_the_report(tmp_path: Path, level: str) -> None:
    where, files = tmp_path / "unit", [data.file("CT_small.dcm"), data.file("MR_small.dcm")]
    port = free_port()
    with orthanc(
        tmp_path / "orthanc", ae_title="TEST", modalities={"unit": ("APPLIANCE", port)}, DicomAlwaysAllowStore=True
    ) as peer:
        config = unit_config(where, port=port, commitment=level, report_port=peer.dicom_port)
        with receiving(config):
            ids = [peer.upload(file) for file in files]
            peer.store("unit", ids)
            body = b'{"Resources": [' + ",".join(f'"{one}"' for one in ids).encode() + b"]}"
            transaction_id = peer.ask("/modalities/unit/storage-commitment", body)["ID"]
            if level == "hub":
                receipts(where, [uid for (uid,) in rows(where, "SELECT sop_instance_uid FROM instance")])

            def report() -> dict[str, Any] | None:
                answer: dict[str, Any] = peer.ask(f"/storage-commitment/{transaction_id}")
                return answer if answer["Status"] != "Pending" else None

            answer = wait_for(report, "Orthanc has the report")
            assert answer["Status"] == "Success", answer
            assert len(answer["Success"]) == len(files)
            wait_for(lambda: not open_requests(where), "the report is taken")


def test_orthanc_hears_of_what_never_came(tmp_path: Path) -> None:
    port = free_port()
    body = b'{"DicomInstances": [{"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2", "SOPInstanceUID": "2.25.1"}]}'
    with (
        orthanc(tmp_path / "orthanc", ae_title="TEST", modalities={"unit": ("APPLIANCE", port)}) as peer,
        receiving(unit_config(tmp_path / "unit", port=port, commitment="hub", report_port=peer.dicom_port)),
    ):
        transaction_id = peer.ask("/modalities/unit/storage-commitment", body)["ID"]

        def failures() -> list[dict[str, Any]]:
            found: list[dict[str, Any]] = peer.ask(f"/storage-commitment/{transaction_id}").get("Failures", [])
            return found

        assert [one["FailureReason"] for one in wait_for(failures, "Orthanc has the report")] == [0x0112]
