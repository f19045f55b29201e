"""The process that faces the hospital network: takes instances over DICOM, and answers when they are durable.

`Receiver` joins the guarded server (`dimse`), the spool and the journal, and decides who may associate.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from functools import lru_cache, partial
from typing import Final

from appliance.clock import now_ms
from appliance.config import Modality, UnitConfig, priority_of
from appliance.dimse import policy
from appliance.dimse.negotiation import storage_offer
from appliance.dimse.pdu import AssociateReject
from appliance.dimse.policy import Caller
from appliance.dimse.server import DicomServer, Listening
from appliance.dimse.session import Limits
from appliance.dimse.tls import server_context
from appliance.errors import ApplianceError, DatabaseError
from appliance.logs import get_logger
from appliance.model.commitment import Level
from appliance.store_forward import commitment_book, devices, mpps_book, recovery
from appliance.store_forward.commitment import Commitments
from appliance.store_forward.commitment_reports import Reporter
from appliance.store_forward.journal import Journal
from appliance.store_forward.queue import beat
from appliance.store_forward.spool import Spool
from appliance.store_forward.storing import Sender, Storing
from appliance.systemd import notify

_LOOK_SECONDS: Final = 0.5
_log = get_logger()


class Receiver:
    """Everything of the process but its main loop. Listens once constructed; serves between `start` and `stop`."""

    def __init__(self, config: UnitConfig) -> None:
        self._config = config
        self._offer = storage_offer(deflated=config.dicom.accept_deflated)
        self._allowed_addresses: frozenset[str] = frozenset()
        # The accept loop asks this of every open connection, so it is worked out once for each address.
        self._is_configured = lru_cache(maxsize=4096)(partial(policy.is_configured, modalities=config.dicom.modalities))
        self._unknown = devices.Allowance()
        self._stopping = threading.Event()
        self.spool = Spool(config.data / "spool", reserve_bytes=config.storage.reserve_bytes)
        self.spool.prepare()
        self.journal = Journal(config.data, self.spool, self._tick)
        self._commitments = Commitments(self.journal, Level(config.dicom.commitment))
        self._reporter = Reporter(self._commitments, config.dicom.ae_title, self._report_port)
        try:
            self._server = self._listen()
        except ApplianceError:
            self.spool.release()
            raise
        self._check = threading.Thread(target=self._look_for_lost_files, name="lost-files", daemon=True)

    def _listen(self) -> DicomServer:
        dicom = self._config.dicom
        listening = [Listening(dicom.bind, dicom.port)]
        if dicom.tls_certificate and dicom.tls_key:
            context = server_context(dicom.tls_certificate, dicom.tls_key, dicom.tls_client_ca)
            listening.append(Listening(dicom.bind, dicom.tls_port, context))
        limits = Limits(dicom.max_pdu_bytes, dicom.handshake_seconds, dicom.pdu_seconds, dicom.idle_seconds)
        return DicomServer(
            listening,
            self,
            limits,
            associations_max=dicom.max_associations,
            per_peer_max=dicom.max_associations_per_peer,
        )

    @property
    def port(self) -> int:
        """The port of plain DICOM."""
        return self._server.ports[0]

    @property
    def tls_port(self) -> int | None:
        """The port of DICOM TLS, if there is one."""
        return self._server.ports[1] if len(self._server.ports) > 1 else None

    @property
    def associations(self) -> int:
        """How many are open now."""
        return self._server.associations

    def start(self) -> None:
        """Recovers what the last run left, then accepts. Raises DatabaseError or SpoolError."""
        self.journal.start()
        removed = self.journal.ask(lambda connection: recovery.remove_orphans(connection, self.spool))
        self._server.start()
        self._reporter.start()
        self._check.start()
        _log.info("receiving", address=self._config.dicom.bind, port=self.port, count=removed)

    def stop(self) -> None:
        """Finishes the instances in hand, or aborts them after a few seconds; writes what is still to be written."""
        self._stopping.set()
        self._server.stop()
        self._reporter.stop()
        if self._check.is_alive():
            self._check.join()
        self.journal.stop()
        self.spool.release()

    def check(self) -> None:
        """Raises DatabaseError when the writer died: the process must end and be started again."""
        if not self.journal.alive:
            raise DatabaseError("The thread that writes the database has died")

    # What the server asks (dimse.session.Application).

    def knows(self, address: str) -> bool:
        """Whether a modality may have this address."""
        return address in self._allowed_addresses or self._is_configured(address)

    def open(self, caller: Caller) -> Storing | AssociateReject:
        """Admits a configured or allowed device that means us; notes an unknown one for the engineer."""
        dicom = self._config.dicom
        sender = self._sender(caller)
        if sender is None:
            return policy.CALLING_AE_NOT_RECOGNIZED
        if not policy.called_right(caller, dicom.ae_title, accept_any=dicom.accept_any_called_ae):
            return policy.CALLED_AE_NOT_RECOGNIZED
        size_max = dicom.max_object_bytes
        return Storing(sender, self._offer, self.spool, self.journal, self._commitments, size_max=size_max)

    def _sender(self, caller: Caller) -> Sender | None:
        modality = policy.modality_of(caller, self._config.dicom.modalities)
        if modality:
            return self._configured(caller, modality)
        return self.journal.ask(lambda connection: self._device(connection, caller))

    def _configured(self, caller: Caller, modality: Modality) -> Sender:
        settle_ms = round(self._config.settle_seconds(modality) * 1000)
        return Sender(caller, modality.name, settle_ms, priority_of(modality))

    def _device(self, connection: sqlite3.Connection, caller: Caller) -> Sender | None:
        device = devices.find(connection, caller)
        if device is None and self._unknown.take(time.monotonic()):
            devices.seen(connection, caller, now_ms())
        if device is None or not device.allowed:
            return None
        self._allowed_addresses |= {caller.address}
        settle_ms = device.settle_ms or round(self._config.settle_seconds(None) * 1000)
        return Sender(caller, device.name, settle_ms, device.priority)

    # What runs beside it.

    def _report_port(self, calling_ae: str, address: str) -> int:
        """Where a device takes storage commitment reports; 0: nowhere."""
        dicom = self._config.dicom
        modality = policy.modality_of(Caller(address, calling_ae, ""), dicom.modalities)
        own = modality.report_port if modality else None
        return dicom.report_port if own is None else own

    def _tick(self, connection: sqlite3.Connection) -> None:
        now = now_ms()
        self._allowed_addresses = devices.allowed_addresses(connection)
        commitment_book.forget(connection, now)
        mpps_book.forget(connection, now)
        beat(connection, "receive", now, f"{self._server.associations} associations")

    def _look_for_lost_files(self) -> None:
        try:
            lost = recovery.quarantine_lost(self.spool, self.journal, self._stopping)
        except ApplianceError as error:
            _log.warning("lost_files_unchecked", error_id=error.id, reason=error.message)
            return
        if lost:
            _log.error("files_lost", count=lost)


def run(config: UnitConfig, stop: threading.Event) -> None:
    """Receives until `stop` is set. Raises ApplianceError when it can't go on."""
    receiver = Receiver(config)
    try:
        receiver.start()
        notify("READY=1", f"STATUS=listening on {config.dicom.bind} port {receiver.port}")
        while not stop.wait(_LOOK_SECONDS):
            receiver.check()
    finally:
        notify("STOPPING=1")
        receiver.stop()
