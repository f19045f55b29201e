"""What a tus 1.0.0 server answers, as values: https://tus.io/protocols/resumable-upload, and docs/protocol.md.

No sockets, files or clocks: the hub hands in a request's headers, the stored facts of the upload, the site's use of
its ceilings and the time, and gets an Answer, or a TusError that carries one. `headers` is any mapping that finds a
name in the case of the specification (aiohttp's ignores case).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from appliance.model.priority import Priority
from appliance.upload import headers as h

METHOD_OVERRIDE: Final = "X-HTTP-Method-Override"
RETRY_SECONDS: Final = 30  # after a ceiling: about as long as a parcel takes on a slow line
_VERSIONLESS: Final = frozenset({"OPTIONS", "GET"})  # tus 1.0 §Tus-Resumable: every request but OPTIONS; GET is not tus
_OVERRIDES: Final = frozenset({"PATCH", "DELETE", "HEAD"})
# A header that says two things is refused rather than read in one of the two ways.
SINGLE: Final = (h.OFFSET, h.LENGTH, h.METADATA, h.CHECKSUM, h.RESUMABLE, METHOD_OVERRIDE, "Content-Type")


@dataclass(frozen=True)
class Answer:
    """A response without a body, but for the sentence `message` of a refusal."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    message: str = ""


class TusError(Exception):
    """The request is refused; `answer` says how."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.answer = Answer(status, headers or {}, message)


@dataclass(frozen=True)
class Limits:
    """Ceilings of one site, in bytes, counts and milliseconds."""

    parcel_bytes_max: int
    uploads_max: int
    partial_bytes_max: int
    keep_ms: int  # an upload that gets no byte for so long is removed


@dataclass(frozen=True)
class Usage:
    """What a site has open now, and the bytes of disk that are free above the hub's reserve."""

    uploads: int
    bytes: int
    free_bytes: int


@dataclass(frozen=True)
class Creation:
    """What a POST asks for. `parcel` is the SHA-256 that the client states for the whole, in hex; None: none stated."""

    length: int
    parcel: str | None
    priority: Priority
    metadata: str


@dataclass(frozen=True)
class StoredUpload:
    """An upload as the hub's index has it. `offset` counts bytes that are fsynced; `last_byte_at` in Unix ms."""

    length: int
    offset: int
    metadata: str
    last_byte_at: int


@dataclass(frozen=True)
class Patch:
    """What a PATCH announces. `length` is that of its body; None when it is chunked."""

    offset: int
    length: int | None
    checksum: h.Checksum | None


def effective_method(method: str, headers: Mapping[str, str]) -> str:
    """The method that counts: `X-HTTP-Method-Override` stands above that of the request line (tus 1.0 §Headers)."""
    override = headers.get(METHOD_OVERRIDE)
    return override if method == "POST" and override in _OVERRIDES else method


def check_version(method: str, headers: Mapping[str, str]) -> None:
    """Raises TusError 412 unless the client speaks 1.0.0 (tus 1.0 §Tus-Resumable)."""
    if method not in _VERSIONLESS and headers.get(h.RESUMABLE) != h.TUS_VERSION:
        raise TusError(412, f"This hub speaks tus {h.TUS_VERSION}", {"Tus-Version": h.TUS_VERSION})


def answer_options(limits: Limits) -> Answer:
    """204 with what this server can do (tus 1.0 §OPTIONS)."""
    headers = {
        "Tus-Version": h.TUS_VERSION,
        "Tus-Extension": ",".join(h.EXTENSIONS),
        "Tus-Checksum-Algorithm": ",".join(h.CHECKSUM_ALGORITHMS),
        "Tus-Max-Size": str(limits.parcel_bytes_max),
    }
    return Answer(204, headers)


def read_creation(headers: Mapping[str, str], limits: Limits) -> Creation:
    """What the POST asks for (tus 1.0 §Creation). Raises TusError 400 for a bad header, 413 above the ceiling."""
    if "Upload-Defer-Length" in headers:
        raise TusError(400, "Upload-Defer-Length is not offered: say the length")
    if headers.get("Upload-Concat") is not None:
        raise TusError(400, "Concatenation is not offered")
    try:
        length = h.parse_number(h.LENGTH, headers.get(h.LENGTH))
        pairs = h.parse_metadata(headers.get(h.METADATA))
        parcel = h.parse_parcel(pairs)
    except h.HeaderError as error:
        raise TusError(400, str(error)) from error
    if length > limits.parcel_bytes_max:
        raise TusError(413, f"A parcel has at most {limits.parcel_bytes_max} bytes here")
    if length == 0:
        raise TusError(400, "A parcel has at least one byte")
    return Creation(length, parcel, _priority(pairs), headers.get(h.METADATA) or "")


def _priority(pairs: Mapping[str, bytes]) -> Priority:
    word = pairs.get(h.PRIORITY_KEY, b"routine").decode("ascii", "replace")
    try:
        return Priority.from_word(word)
    except KeyError as error:
        raise TusError(400, f"{h.METADATA}: priority is none of stat, urgent, routine, prior") from error


def check_room(creation: Creation, usage: Usage, limits: Limits) -> None:
    """Raises TusError 429 above a ceiling of the site, 507 when the hub's disk has no room; both say when to retry."""
    retry = {h.RETRY_AFTER: str(RETRY_SECONDS)}
    if usage.uploads >= limits.uploads_max:
        raise TusError(429, f"This site has {usage.uploads} uploads open, which is the most", retry)
    if usage.bytes + creation.length > limits.partial_bytes_max:
        raise TusError(429, "This site's open uploads are as large as it may have at once", retry)
    if usage.free_bytes < creation.length:
        raise TusError(507, "The hub's disk is nearly full", retry)


def answer_created(upload: StoredUpload, location: str, limits: Limits) -> Answer:
    """201 for a new upload, and the same for one that was there already (docs/protocol.md §Upload)."""
    return Answer(201, {"Location": location, h.OFFSET: str(upload.offset)} | _expiry(upload, limits))


def answer_head(upload: StoredUpload, limits: Limits) -> Answer:
    """200 with the bytes that are safe here (tus 1.0 §HEAD)."""
    headers = {h.OFFSET: str(upload.offset), h.LENGTH: str(upload.length), "Cache-Control": "no-store"}
    if upload.metadata:
        headers[h.METADATA] = upload.metadata
    return Answer(200, headers | _expiry(upload, limits))


def read_patch(headers: Mapping[str, str]) -> Patch:
    """What the PATCH announces (tus 1.0 §PATCH, §Checksum). Raises TusError 400 for a bad header or an unknown
    checksum algorithm, 415 for another content type or an encoded body.
    """
    if headers.get("Content-Type") != h.CONTENT_TYPE:
        raise TusError(415, f"The body is to be {h.CONTENT_TYPE}")
    if headers.get("Content-Encoding", "identity") != "identity":
        raise TusError(415, "The body may not be encoded")
    checksum, length = headers.get(h.CHECKSUM), headers.get("Content-Length")
    try:
        return Patch(
            offset=h.parse_number(h.OFFSET, headers.get(h.OFFSET)),
            length=None if length is None else h.parse_number("Content-Length", length),
            checksum=None if checksum is None else h.parse_checksum(checksum),
        )
    except h.HeaderError as error:
        raise TusError(400, str(error)) from error


def check_patch(patch: Patch, upload: StoredUpload, usage: Usage) -> None:
    """Raises TusError 409 (with the true offset) unless the body goes on where the durable bytes end, 413 when it
    would run over the upload's end, 507 when the hub's disk has no room.
    """
    if patch.offset != upload.offset:
        raise TusError(409, "The offset is not that of the upload", {h.OFFSET: str(upload.offset)})
    if patch.length is not None and patch.offset + patch.length > upload.length:
        raise too_long(upload)
    if usage.free_bytes <= 0 and upload.offset < upload.length:
        raise disk_full()


def too_long(upload: StoredUpload) -> TusError:
    """413: more bytes came than the upload was said to have."""
    return TusError(413, "The body runs over the end of the upload", {h.OFFSET: str(upload.offset)})


def disk_full() -> TusError:
    """507: the disk is at its reserve; nothing that was acknowledged is touched."""
    return TusError(507, "The hub's disk is nearly full", {h.RETRY_AFTER: str(RETRY_SECONDS)})


def superseded() -> TusError:
    """423: a newer request for this upload took over."""
    return TusError(423, "A newer request for this upload took over")


def not_found() -> TusError:
    """404: this site has no such upload."""
    return TusError(404, "This site has no such upload")


def answer_patch(upload: StoredUpload, limits: Limits) -> Answer:
    """204 with the new durable offset (tus 1.0 §PATCH)."""
    return Answer(204, {h.OFFSET: str(upload.offset)} | _expiry(upload, limits))


def expires_at(last_byte_at: int, limits: Limits) -> int:
    """When an upload is removed unless another byte comes, in Unix ms (tus 1.0 §Expiration)."""
    return last_byte_at + limits.keep_ms


def _expiry(upload: StoredUpload, limits: Limits) -> dict[str, str]:
    return {h.EXPIRES: h.encode_date(expires_at(upload.last_byte_at, limits))}


class BodyCheck:
    """Counts a body while it comes, and proves it against its checksum when it ended."""

    def __init__(self, patch: Patch, upload: StoredUpload) -> None:
        self._room = upload.length - patch.offset
        self._upload = upload
        self._checksum = patch.checksum
        self._hash = hashlib.new(patch.checksum.algorithm, usedforsecurity=False) if patch.checksum else None

    def take(self, chunk: bytes) -> None:
        """Raises TusError 413 when the chunk runs over the end of the upload; the chunk is then not to be kept."""
        if len(chunk) > self._room:
            raise too_long(self._upload)
        self._room -= len(chunk)
        if self._hash:
            self._hash.update(chunk)

    def finish(self) -> None:
        """Raises TusError 460 when the body is not what its checksum says; all of it is then to be dropped."""
        if self._checksum and self._hash and self._hash.digest() != self._checksum.digest:
            raise TusError(460, "The body does not match its checksum", {h.OFFSET: str(self._upload.offset)})
