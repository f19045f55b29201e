"""Tells devices on an association of ours what their storage commitment came to, for ever until they take it.

A thread of `receive` looks each second at what is decided and at what may be decided by now. Each destination has its
own thread while there is something to tell it, so that one that hangs holds up nobody but itself.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

from pydicom import Dataset

from appliance.dimse.negotiation import STORAGE_COMMITMENT
from appliance.dimse.reporting import Destination, EventReport, report_events
from appliance.dimse.status import Status
from appliance.errors import ApplianceError, LinkError
from appliance.logs import get_logger
from appliance.store_forward.commitment import WELL_KNOWN_INSTANCE, Commitments, event_of
from appliance.store_forward.commitment_book import Report

_LOOK_SECONDS: Final = 1.0
_AT_ONCE: Final = 32  # reports of one look; one destination gets its share of them in one association
_DESTINATIONS_MAX: Final = 4
_GRACE_SECONDS: Final = 5.0
_log = get_logger()


class Reporter:
    """`port_of`: where a device (AE title, address) takes reports; 0: nowhere but on its own association."""

    def __init__(self, commitments: Commitments, own_ae: str, port_of: Callable[[str, str], int]) -> None:
        self._commitments, self._own_ae, self._port_of = commitments, own_ae, port_of
        self._stopping = threading.Event()
        self._busy: dict[tuple[str, str], threading.Thread] = {}
        self._thread = threading.Thread(target=self._run, name="commitment", daemon=True)

    def start(self) -> None:
        """Starts to look."""
        self._thread.start()

    def stop(self) -> None:
        """Ends; what is being told may take five seconds more. What is not told is a row, told at the next start."""
        self._stopping.set()
        self._commitments.wake.set()
        if self._thread.is_alive():
            self._thread.join()
        until = time.monotonic() + _GRACE_SECONDS
        for thread in self._busy.values():
            thread.join(max(0.0, until - time.monotonic()))

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._commitments.wake.wait(_LOOK_SECONDS)
            self._commitments.wake.clear()
            try:
                self._commitments.decide_due()
                self._tell_due()
            except ApplianceError as error:
                _log.warning("commitment_waits", error_id=error.id, reason=error.message)

    def _tell_due(self) -> None:
        """Starts a thread for each device that has something to hear and no thread, as many as may be."""
        self._busy = {to: thread for to, thread in self._busy.items() if thread.is_alive()}
        if self._stopping.is_set() or len(self._busy) >= _DESTINATIONS_MAX:
            return
        by_device: dict[tuple[str, str], list[Report]] = {}
        for report in self._commitments.claim_due(_AT_ONCE, self._busy):
            by_device.setdefault((report.calling_ae, report.address), []).append(report)
        for to, reports in by_device.items():
            if len(self._busy) < _DESTINATIONS_MAX:
                thread = threading.Thread(target=self._tell, args=(to, reports), name="commitment-report", daemon=True)
                self._busy[to] = thread
                thread.start()
            else:
                for report in reports:
                    self._commitments.release(report)

    def _tell(self, to: tuple[str, str], reports: list[Report]) -> None:
        waiting = list(reports)
        try:
            for status in self._statuses(to, reports):
                self._said(waiting.pop(0), status)
        except Exception as error:  # noqa: BLE001  whatever it was, what is not told must be tried again
            reason = error.message if isinstance(error, ApplianceError) else type(error).__name__
            for report in waiting:
                with contextlib.suppress(ApplianceError):  # the row is still due
                    self._commitments.not_told(report, reason)

    def _statuses(self, to: tuple[str, str], reports: list[Report]) -> Iterator[int]:
        """What the device answers to each. Raises LinkError."""
        calling_ae, address = to
        port = self._port_of(calling_ae, address)
        if not port:
            raise LinkError("No port is set on which this device takes reports")
        events = [_event(report) for report in reports]
        return report_events(Destination(address, port, calling_ae), self._own_ae, STORAGE_COMMITMENT, events)

    def _said(self, report: Report, status: int) -> None:
        with contextlib.suppress(ApplianceError):  # the row is still due: it is told again
            if status == Status.SUCCESS:
                self._commitments.told(report)
            else:
                self._commitments.not_told(report, f"answered with status 0x{status:04X}")


def _event(report: Report) -> EventReport:
    event_type, content = event_of(report)
    return EventReport(STORAGE_COMMITMENT, WELL_KNOWN_INSTANCE, event_type, Dataset.from_json(dict(content)))
