"""N-EVENT-REPORT on an association of our own (PS3.7 10.1.1), as the SCP of the class (role selection, D.3.3.4)."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, build_role, evt
from pynetdicom.association import Association

from appliance.errors import LinkError

_CONNECT_SECONDS: Final = 10
_ANSWER_SECONDS: Final = 30
_HINT: Final = "Check that the device listens for reports there, and takes them from this unit's AE title."


@dataclass(frozen=True, slots=True)
class EventReport:
    """What is reported of an SOP instance, usually a well-known one."""

    sop_class_uid: str
    sop_instance_uid: str
    event_type: int
    data_set: Dataset


@dataclass(frozen=True, slots=True)
class Destination:
    """Who is told."""

    host: str
    port: int
    ae_title: str


def report_events(to: Destination, own_ae: str, sop_class: str, reports: Sequence[EventReport]) -> Iterator[int]:
    """Reports them one after the other; yields the status of each. All are of `sop_class`.

    Raises LinkError when nobody answers, the association or our role in it is refused, or the connection breaks.
    """
    with contextlib.ExitStack() as sockets:
        association = _associate(to, own_ae, sop_class, sockets)
        try:
            for report in reports:
                yield _report(association, to, report)
        finally:
            association.release() if association.is_established else association.abort()


def _associate(to: Destination, own_ae: str, sop_class: str, sockets: contextlib.ExitStack) -> Association:
    ae = AE(own_ae)
    ae.add_requested_context(sop_class, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
    ae.connection_timeout = _CONNECT_SECONDS
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = _ANSWER_SECONDS
    try:
        # pynetdicom only says that it failed, and leaves its socket open; the system says why.
        socket.create_connection((to.host, to.port), timeout=_CONNECT_SECONDS).close()
        role = build_role(sop_class, scu_role=False, scp_role=True)
        # It forgets to close the socket of a peer that went first: `sockets` does, whatever happened.
        opened: list[Any] = [(evt.EVT_CONN_OPEN, lambda event: sockets.callback(event.assoc.dul.socket.socket.close))]
        association = ae.associate(to.host, to.port, ae_title=to.ae_title, ext_neg=[role], evt_handlers=opened)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise LinkError(f"{to.host} port {to.port} can't be reached: {reason}", hint=_HINT) from error
    if not association.is_established:
        raise LinkError(f"{to.ae_title} at {to.host} port {to.port} takes no association", hint=_HINT)
    # As in `send`: what pynetdicom's own reactor takes goes back to the one who waits for it.
    vars(association)["_serve_request"] = lambda msg, context_id: association.dimse.msg_queue.put((context_id, msg))
    if not any(context.as_scp for context in association.accepted_contexts):
        association.release()
        raise LinkError(f"{to.ae_title} at {to.host} does not let this unit report", hint=_HINT)
    return association


def _report(association: Association, to: Destination, report: EventReport) -> int:
    try:
        answer, _ = association.send_n_event_report(
            report.data_set, report.event_type, report.sop_class_uid, report.sop_instance_uid
        )
    except (RuntimeError, ValueError, OSError) as error:
        raise LinkError(f"The connection to {to.ae_title} at {to.host} broke") from error
    if "Status" not in answer:
        raise LinkError(f"{to.ae_title} at {to.host} did not answer the report")
    return int(answer.Status)
