"""The listener: who is let in, and what is negotiated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Final

from appliance.config import Pacs
from appliance.dimse import policy
from appliance.dimse.command import Field
from appliance.dimse.negotiation import VERIFICATION, Offer
from appliance.dimse.pdu import AssociateReject
from appliance.dimse.policy import Caller
from appliance.dimse.server import DicomServer, Listening
from appliance.dimse.service import Service, Verification
from appliance.dimse.session import Limits
from appliance.dimse.tls import server_context
from appliance.hub.dicom.finding import MODELS, Finding
from appliance.hub.dicom.peers import peer_of
from appliance.hub.index.database import Index
from appliance.logs import get_logger
from appliance.part10.transfer_syntax import EXPLICIT_LITTLE, IMPLICIT_LITTLE

OFFER: Final = Offer(lambda uid: uid == VERIFICATION or uid in MODELS, frozenset({EXPLICIT_LITTLE, IMPLICIT_LITTLE}))

log = get_logger()


@dataclass(frozen=True)
class _Association:
    offer: Offer
    services: Mapping[int, Service]

    def close(self) -> None:
        """Nothing is left of it."""


class PacsListener:
    """Listens once constructed; serves between `start` and `stop`. Raises ConfigError."""

    def __init__(self, config: Pacs, address: str, index: Index) -> None:
        self._config, self._index = config, index
        # The accept loop asks this of every open connection, so it is worked out once for each address.
        self._is_configured = lru_cache(maxsize=4096)(partial(policy.is_configured, modalities=config.peers))
        limits = Limits(config.max_pdu_bytes, config.handshake_seconds, config.pdu_seconds, config.idle_seconds)
        listening = [Listening(address, config.port)]
        if config.tls_certificate and config.tls_key:
            context = server_context(config.tls_certificate, config.tls_key, config.tls_client_ca)
            listening.append(Listening(address, config.tls_port, context))
        self._server = DicomServer(
            listening,
            self,
            limits,
            associations_max=config.max_associations,
            per_peer_max=config.max_associations_per_peer,
        )
        self.ports = self._server.ports

    def start(self) -> None:
        """Starts to accept."""
        self._server.start()
        log.info("listening for viewers and PACS", address=self._config.bind, port=self.ports[0])

    def stop(self) -> None:
        """Ends every association, within seconds."""
        self._server.stop()

    # What the server asks (dimse.session.Application).

    def knows(self, address: str) -> bool:
        """Whether a peer may have this address."""
        return self._is_configured(address)

    def open(self, caller: Caller) -> _Association | AssociateReject:
        """Admits a configured peer that means us."""
        entry = policy.modality_of(caller, self._config.peers)
        if entry is None:
            return policy.CALLING_AE_NOT_RECOGNIZED
        if not policy.called_right(caller, self._config.ae_title, accept_any=False):
            return policy.CALLED_AE_NOT_RECOGNIZED
        own_ae = self._config.ae_title.strip()
        finding = Finding(self._index, peer_of(entry, caller.address), own_ae, self._config.answers_max)
        return _Association(OFFER, {Field.C_ECHO: Verification(), Field.C_FIND: finding})
