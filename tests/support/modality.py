"""A modality of pynetdicom's: asks for storage commitment, hears reports, says what it performs."""

from __future__ import annotations

import contextlib
import queue
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pydicom import Dataset
from pydicom.uid import UID, generate_uid
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.pdu import P_DATA_TF
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    ModalityPerformedProcedureStep,
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
)
from support.tiny_instances import TinyInstance

HEARD_SECONDS: Final = 20.0


@dataclass(frozen=True)
class Heard:
    """A report, as it came."""

    event_type: int
    information: Dataset
    by_listener: bool

    @property
    def safe(self) -> set[str]:
        """SOP Instance UIDs that are committed to."""
        return {item.ReferencedSOPInstanceUID for item in self.information.get("ReferencedSOPSequence", ())}

    @property
    def failed(self) -> dict[str, int]:
        """The others, with their failure reasons."""
        items = self.information.get("FailedSOPSequence", ())
        return {item.ReferencedSOPInstanceUID: item.FailureReason for item in items}


@dataclass
class Ears:
    """What came, in order, once it is answered. `status`: how; `refused`: those other than 0x0000."""

    heard: queue.Queue[Heard] = field(default_factory=queue.Queue)
    status: int = 0
    refused: queue.Queue[int] = field(default_factory=queue.Queue)
    _unanswered: queue.Queue[Heard] = field(default_factory=queue.Queue)

    def next(self) -> Heard:
        """The next report; raises queue.Empty when none comes."""
        return self.heard.get(timeout=HEARD_SECONDS)

    def handlers(self, *, by_listener: bool) -> list[Any]:
        """For pynetdicom."""
        return [(evt.EVT_N_EVENT_REPORT, self._came, [by_listener]), (evt.EVT_PDU_SENT, self._sent)]

    def _came(self, event: evt.Event, by_listener: bool) -> tuple[int, None]:
        self._unanswered.put(Heard(event.event_type, event.event_information, by_listener))
        return self.status, None

    def _sent(self, event: evt.Event) -> None:
        """pynetdicom breaks when its user releases before the answer has left: so who waits is told only now."""
        if isinstance(event.pdu, P_DATA_TF) and not self._unanswered.empty():
            heard = self._unanswered.get()
            if self.status:
                self.refused.put(self.status)
            else:
                self.heard.put(heard)


@contextlib.contextmanager
def associated(port: int, ears: Ears, *, calling: str = "TEST") -> Iterator[Association]:
    """An association for storage commitment and performed steps, on which reports are heard."""
    ae = AE(calling)
    ae.add_requested_context(StorageCommitmentPushModel)
    ae.add_requested_context(ModalityPerformedProcedureStep)
    with contextlib.ExitStack() as sockets:  # pynetdicom does not close that of a peer that went first
        opened = (evt.EVT_CONN_OPEN, lambda event: sockets.callback(event.assoc.dul.socket.socket.close))
        handlers = [*ears.handlers(by_listener=False), opened]
        association = ae.associate("127.0.0.1", port, ae_title="APPLIANCE", evt_handlers=handlers)
        assert association.is_established
        try:
            yield association
        finally:
            association.release() if association.is_established else association.abort()


@contextlib.contextmanager
def listening(port: int, ears: Ears, *, title: str = "TEST") -> Iterator[None]:
    """A listener that takes reports from a provider, with its role."""
    ae = AE(title)
    ae.add_supported_context(StorageCommitmentPushModel, scu_role=False, scp_role=True)
    server = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=ears.handlers(by_listener=True))
    assert server is not None
    try:
        yield
    finally:
        server.shutdown()


def request(instances: Sequence[TinyInstance], transaction: str = "", sop_class: str = "") -> Dataset:
    """Action Information (PS3.4 table J.3-1)."""
    asked = Dataset()
    asked.TransactionUID = transaction or generate_uid()
    asked.ReferencedSOPSequence = []
    for instance in instances:
        item = Dataset()
        item.ReferencedSOPClassUID = sop_class or instance.sop_class_uid
        item.ReferencedSOPInstanceUID = instance.sop_instance_uid
        asked.ReferencedSOPSequence.append(item)
    return asked


def ask(
    association: Association,
    asked: Dataset,
    *,
    action: int = 1,
    instance: str = StorageCommitmentPushModelInstance,
    sop_class: str = StorageCommitmentPushModel,
) -> int:
    """The status of an N-ACTION."""
    status, _ = association.send_n_action(asked, action, UID(sop_class), UID(instance))
    return int(status.Status)


def step(status: str, *, study: str = "", images: Sequence[TinyInstance] = (), series: str = "2.25.7") -> Dataset:
    """The data set of an N-CREATE (with `study`) or an N-SET (without), with Performed Series for `images`."""
    made = Dataset()
    made.PerformedProcedureStepStatus = status
    if study:
        scheduled = Dataset()
        scheduled.StudyInstanceUID = study
        made.ScheduledStepAttributesSequence = [scheduled]
        made.PatientName = "Test^Case"
        made.PerformedProcedureStepID = "P1"
        made.PerformedStationAETitle = "TEST"
        made.PerformedProcedureStepStartDate = "20261124"
        made.PerformedProcedureStepStartTime = "040000"
        made.Modality = "OT"
    if images:
        performed = Dataset()
        performed.SeriesInstanceUID = series
        performed.ReferencedImageSequence = request(images).ReferencedSOPSequence
        performed.ReferencedNonImageCompositeSOPInstanceSequence = []
        made.PerformedSeriesSequence = [performed]
    return made


def create_step(association: Association, data_set: Dataset, uid: str | None = None) -> tuple[int, str]:
    """Status and SOP Instance UID of an N-CREATE."""
    status, made = association.send_n_create(data_set, ModalityPerformedProcedureStep, UID(uid) if uid else None)
    return int(status.Status), str(uid or (made or Dataset()).get("SOPInstanceUID", ""))


def set_step(association: Association, data_set: Dataset, uid: str) -> Dataset:
    """The response to an N-SET: Status, and what else there is."""
    status, _ = association.send_n_set(data_set, ModalityPerformedProcedureStep, UID(uid))
    return status
