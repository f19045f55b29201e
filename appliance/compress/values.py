"""What goes into the worker pool and what comes out of it: plain frozen values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from appliance.model.identity import InstanceIdentity
from appliance.model.priority import Priority

Octets: TypeAlias = bytes  # some classes here have a field named `bytes`, a count


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One received instance on this disk: a Part 10 file whose data set starts at `data_offset`.

    `digest` is the SHA-256 (32 bytes) that was computed while the modality sent the data set of `bytes` bytes.
    `plain`: no codec touches it, because one failed on it before.
    """

    path: Path
    data_offset: int
    bytes: int
    digest: Octets
    transfer_syntax_uid: str
    sop_class_uid: str
    sop_instance_uid: str
    received_at: int  # Unix milliseconds
    calling_ae: str
    plain: bool = False
    keep_header: bool = False  # ask the hub to keep its header as a dictionary of the series


@dataclass(frozen=True, slots=True, kw_only=True)
class ParcelContext:
    """What is the same for all instances of a parcel."""

    study_instance_uid: str
    site: str
    priority: Priority


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """A header that the hub will hold once the parcel is verified, and that may then serve as a dictionary."""

    index: int  # of the source in the sequence given to `pack`
    header: Octets  # the data set's bytes before its pixel value
    digest: Octets  # SHA-256 of `header`; 32 bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedParcel:
    """A finished parcel: unpacked again, compared, and durable at the path given to `pack`."""

    digest: Octets  # SHA-256 of the whole file; 32 bytes
    bytes: int
    instances: int  # the first so many of the sources are in it
    data_bytes: int  # data set bytes of these
    headers: tuple[Header, ...]  # those of sources with `keep_header` that can serve
    codecs: dict[str, int]  # codec name → blocks that it won
    preview_bytes: int  # with the first so many bytes one has all facts and previews, no instance yet


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoredInstance:
    """One instance out of a parcel, written as a Part 10 file (not fsynced) with the data set byte for byte as sent."""

    file: Path
    data_offset: int  # bytes of file meta before the data set
    bytes: int  # of the data set
    digest: Octets  # SHA-256 of the data set, computed outside the sandbox; 32 bytes
    transfer_syntax_uid: str
    sop_class_uid: str
    sop_instance_uid: str
    received_at: int  # at the unit, Unix milliseconds
    calling_ae: str
    header_bytes: int  # the first so many bytes of the data set are its header
    keep_header: bool  # keep these as a dictionary, named by their SHA-256, once the parcel is verified


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """A small image of a frame, out of the first part of a parcel. Nothing proves it: it is for the eye alone."""

    block: int  # of the parcel
    frame: int  # of its instance, from 0
    identity: InstanceIdentity  # as the parcel says
    png: Octets  # at most 256 pixels a side, with a note that it is not for diagnosis


@dataclass(frozen=True, slots=True, kw_only=True)
class PartPreviews:
    """`after`: all blocks with a lower number are done. `complete`: no block of the parcel is left to be drawn."""

    previews: tuple[Preview, ...]
    after: int
    complete: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoredParcel:
    """All of a parcel, checked."""

    digest: Octets  # SHA-256 of the whole file; 32 bytes
    study_instance_uid: str
    site: str
    priority: Priority
    instances: tuple[RestoredInstance, ...]
