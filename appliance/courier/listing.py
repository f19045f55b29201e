"""What a stick says, as values: the list of a unit and the receipts of a hub (docs/protocol.md §Stick)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final, TypeVar

import msgspec
from msgspec import Meta

from appliance.courier import cipher, seal
from appliance.courier.faults import StickRefusedError
from appliance.courier.seal import Cover, Kind
from appliance.model.receipt import ParcelVerdict, Time

FILES_MAX: Final = 20_000  # on a stick, of one site: so its list stays far below what is read of it
Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
Size = Annotated[int, Meta(ge=0, le=1 << 50)]
Word = Annotated[str, Meta(pattern=r"^(stat|urgent|routine|prior)\Z")]


class StickFile(msgspec.Struct, frozen=True, array_like=True):
    """A parcel on the stick: its digest, its bytes, and length and SHA-256 of its encrypted file."""

    parcel: Digest
    bytes: Size
    file_bytes: Size
    file_sha256: Digest


class ListCover(Cover, frozen=True, kw_only=True):
    """In clear: no patient data. `hub_key` is the public key that everything is encrypted to."""

    hub_key: str
    parcels: Size
    bytes: Size
    files: Annotated[tuple[StickFile, ...], Meta(max_length=FILES_MAX)] = ()


class StudyFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A study of which something is on the stick; for the people at the hub."""

    study_instance_uid: str
    patient_name: str
    patient_id: str
    accession_number: str
    study_date: str
    study_description: str
    priority: Word
    instances: Size  # that the unit has received
    parcels: tuple[Digest, ...]


class Contents(msgspec.Struct, frozen=True, kw_only=True):
    """The encrypted part of a list. `reply_to`: the unit's public key, for receipts."""

    reply_to: str
    studies: tuple[StudyFacts, ...] = ()


class ReceiptsCover(Cover, frozen=True, kw_only=True):
    """In clear: no patient data."""

    parcels: Size


class Receipts(msgspec.Struct, frozen=True, kw_only=True):
    """The encrypted part of receipts: the verdicts as the hub's line gives them, `verified` and `refused` ones."""

    verdicts: tuple[ParcelVerdict, ...]


_Body = TypeVar("_Body", Contents, Receipts)


def write_list(
    files: Sequence[StickFile], contents: Contents, *, site: str, at: Time, hub_key: str, secret_digest: bytes
) -> bytes:
    """The sealed list."""
    body = cipher.encrypt_bytes(msgspec.json.encode(contents), hub_key)
    cover = ListCover(
        kind=Kind.LIST,
        site=site,
        at=at,
        hub_key=hub_key,
        parcels=len(files),
        bytes=sum(file.bytes for file in files),
        files=tuple(files),
        **seal.facts_of(body),  # type: ignore[arg-type]
    )
    return seal.sealed(cover, body, seal.site_key(secret_digest, Kind.LIST))


def read_cover(content: bytes, *, site: str, secret_digest: bytes) -> tuple[ListCover, bytes]:
    """The part of a list that is in clear, and the encrypted one. Raises StickRefusedError."""
    return seal.unsealed(content, ListCover, seal.site_key(secret_digest, Kind.LIST), site)


def write_receipts(
    verdicts: Sequence[ParcelVerdict], *, site: str, at: Time, reply_to: str, secret_digest: bytes
) -> bytes:
    """The sealed receipts, which only the unit can read."""
    body = cipher.encrypt_bytes(msgspec.json.encode(Receipts(verdicts=tuple(verdicts))), reply_to)
    facts = seal.facts_of(body)
    cover = ReceiptsCover(kind=Kind.RECEIPTS, site=site, at=at, parcels=len(verdicts), **facts)  # type: ignore[arg-type]
    return seal.sealed(cover, body, seal.site_key(secret_digest, Kind.RECEIPTS))


def read_receipts(
    content: bytes, *, site: str, secret_digest: bytes, secrets: Sequence[str]
) -> tuple[ReceiptsCover, Receipts]:
    """What the hub says. `secrets` are the unit's own keys. Raises StickRefusedError."""
    cover, body = seal.unsealed(content, ReceiptsCover, seal.site_key(secret_digest, Kind.RECEIPTS), site)
    return cover, _decoded(body, Receipts, secrets)


def read_contents(body: bytes, secrets: Sequence[str]) -> Contents:
    """The encrypted part of a list. Raises StickRefusedError."""
    return _decoded(body, Contents, secrets)


def _decoded(body: bytes, kind: type[_Body], secrets: Sequence[str]) -> _Body:
    try:
        return msgspec.json.decode(cipher.decrypt_bytes(body, secrets), type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise StickRefusedError("It is of another version of this program") from error
