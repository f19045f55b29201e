"""Who may associate: pure decisions over the caller, the configured modalities and what the engineer decided."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol, TypeVar

from appliance.dimse.pdu import APPLICATION_CONTEXT, AssociateReject, AssociateRequest

_PERMANENT, _TRANSIENT = 1, 2
_USER, _ACSE, _PRESENTATION = 1, 2, 3

# PS3.8 9.3.4, table 9-21.
APPLICATION_CONTEXT_NOT_SUPPORTED: Final = AssociateReject(_PERMANENT, _USER, 2)
CALLING_AE_NOT_RECOGNIZED: Final = AssociateReject(_PERMANENT, _USER, 3)
CALLED_AE_NOT_RECOGNIZED: Final = AssociateReject(_PERMANENT, _USER, 7)
PROTOCOL_VERSION_NOT_SUPPORTED: Final = AssociateReject(_PERMANENT, _ACSE, 2)
TEMPORARY_CONGESTION: Final = AssociateReject(_TRANSIENT, _PRESENTATION, 1)
LOCAL_LIMIT_EXCEEDED: Final = AssociateReject(_TRANSIENT, _PRESENTATION, 2)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks for an association. `address` is the IP address, without a port; AE titles are as they were sent."""

    address: str
    calling_ae: str
    called_ae: str
    tls: bool = False


class Entry(Protocol):
    """A device of the configuration that may call: an AE title, and the addresses it may have."""

    @property
    def ae_title(self) -> str:
        """Its calling AE title."""

    @property
    def networks(self) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
        """Its addresses."""


EntryT = TypeVar("EntryT", bound=Entry)


def plain_address(address: str) -> str:
    """An IP address without a zone; an IPv4 one that came through an IPv6 socket is written as IPv4."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return str(mapped or parsed)


def protocol_fault(request: AssociateRequest) -> AssociateReject | None:
    """The rejection of a request that speaks another protocol than ours (PS3.8 9.3.2: bit 0 is version 1)."""
    if not request.protocol_version & 1:
        return PROTOCOL_VERSION_NOT_SUPPORTED
    if request.application_context != APPLICATION_CONTEXT:
        return APPLICATION_CONTEXT_NOT_SUPPORTED
    return None


def modality_of(caller: Caller, modalities: Sequence[EntryT]) -> EntryT | None:
    """The first configured device with this calling AE title whose network holds the address."""
    address = ipaddress.ip_address(caller.address)
    return next((m for m in modalities if m.ae_title.strip() == caller.calling_ae and address in m.networks), None)


def is_configured(address: str, modalities: Sequence[Entry]) -> bool:
    """Whether any configured device may use this address, whatever it calls itself."""
    parsed = ipaddress.ip_address(address)
    return any(parsed in modality.networks for modality in modalities)


def called_right(caller: Caller, own_ae: str, *, accept_any: bool) -> bool:
    """Whether the caller means us."""
    return accept_any or caller.called_ae == own_ae.strip()


class Room(StrEnum):
    """Whether there is room for one more connection."""

    YES = "yes"
    PEER_FULL = "peer full"
    FULL = "full"


def room_for(
    address: str, open_by_address: dict[str, int], *, total_max: int, per_peer_max: int, known: set[str]
) -> Room:
    """Whether `address` may open a connection beside those that are open. `known`: open addresses of modalities.

    No peer can fill the house: two places are always left to others, and addresses that belong to no modality share
    a quarter of it, so that a real modality gets in whatever strangers do.
    """
    total = sum(open_by_address.values())
    if open_by_address.get(address, 0) >= max(1, min(per_peer_max, total_max - 2)):
        return Room.PEER_FULL
    if total >= total_max:
        return Room.FULL
    strangers = sum(count for peer, count in open_by_address.items() if peer not in known)
    if address not in known and strangers >= max(1, total_max // 4):
        return Room.FULL
    return Room.YES
