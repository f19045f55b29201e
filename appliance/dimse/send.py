"""A test modality: C-STORE of Part 10 files, and C-ECHO. A real SCU (pynetdicom), not our own server's twin.

Each file goes in its own transfer syntax, its data set bytes as they are in the file.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pydicom import dcmread
from pynetdicom import AE, _config, build_context
from pynetdicom.association import Association

from appliance.dimse.negotiation import VERIFICATION
from appliance.dimse.status import Status
from appliance.errors import DicomError, LinkError
from appliance.part10.identity import read_identity
from appliance.part10.meta import read_prefix

CONTEXTS_MAX: Final = 128  # presentation contexts in one association (PS3.8 9.3.2.2)
_REJECTED: Final[dict[tuple[int | None, int | None], str]] = {
    (1, 3): "it does not know this calling AE title at this address",
    (1, 7): "it does not go by this called AE title",
    (3, 1): "it has too many associations open",
    (3, 2): "it has too many associations open",
}


@dataclass(frozen=True, slots=True)
class SendProgress:
    """After each file: how far it is. Bytes are of whole files; seconds since the start."""

    path: Path
    status: int | None  # None: the other side did not take this kind of object or encoding
    files: int
    files_total: int
    bytes: int
    bytes_total: int
    seconds: float


@dataclass(slots=True)
class SendSummary:
    """What became of the files. `skipped` are no DICOM files; `failed` names each with its status or None."""

    sent: int = 0
    bytes: int = 0
    seconds: float = 0.0
    failed: list[tuple[Path, int | None]] = field(default_factory=list)
    skipped: list[Path] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    size: int
    sop_class: str
    transfer_syntax: str
    meta_agrees: bool

    @property
    def context(self) -> tuple[str, str]:
        return self.sop_class, self.transfer_syntax


def send_files(
    paths: Sequence[Path],
    *,
    host: str,
    port: int,
    called_ae: str,
    calling_ae: str,
    tls: ssl.SSLContext | None,
    on_progress: Callable[[SendProgress], None],
) -> SendSummary:
    """Sends `paths` in their order, in as many associations as their presentation contexts need.

    Raises LinkError when nobody answers, the association is refused, or the connection breaks in the middle.
    """
    summary, files, start = SendSummary(), list[_File](), time.monotonic()
    for path in paths:
        try:
            files.append(_look_at(path))
        except (DicomError, OSError):
            summary.skipped.append(path)
    total, done = sum(file.size for file in files), 0
    for group in grouped(files):
        association = _associate(host, port, called_ae, calling_ae, tls, [file.context for file in group])
        try:
            for file in group:
                status = _store(association, file)
                done += file.size
                _count(summary, file, status)
                seen = summary.sent + len(summary.failed)
                on_progress(SendProgress(file.path, status, seen, len(files), done, total, time.monotonic() - start))
        finally:
            association.release() if association.is_established else association.abort()
    summary.seconds = time.monotonic() - start
    return summary


def _count(summary: SendSummary, file: _File, status: int | None) -> None:
    if status == Status.SUCCESS:
        summary.sent += 1
        summary.bytes += file.size
    else:
        summary.failed.append((file.path, status))


def grouped(files: Sequence[_File]) -> Iterator[list[_File]]:
    """The files in their order, cut wherever one more would need over 128 presentation contexts."""
    group, contexts = list[_File](), set[tuple[str, str]]()
    for file in files:
        if file.context not in contexts and len(contexts) == CONTEXTS_MAX:
            yield group
            group, contexts = [], set()
        group.append(file)
        contexts.add(file.context)
    if group:
        yield group


def _look_at(path: Path) -> _File:
    """What the file is; a data set that can't be read goes as its file meta says. Raises DicomError, OSError."""
    with path.open("rb") as stream:
        meta, offset = read_prefix(stream)
        size = path.stat().st_size
        stream.seek(offset)
        try:
            identity = read_identity(stream, meta.transfer_syntax_uid, size - offset)
        except DicomError:
            if not (meta.sop_class_uid and meta.sop_instance_uid):
                raise
            return _File(path, size, meta.sop_class_uid, meta.transfer_syntax_uid, True)
    agrees = (meta.sop_class_uid, meta.sop_instance_uid) == (identity.sop_class_uid, identity.sop_instance_uid)
    return _File(path, size, identity.sop_class_uid, meta.transfer_syntax_uid, agrees)


def _associate(
    host: str, port: int, called: str, calling: str, tls: ssl.SSLContext | None, contexts: Sequence[tuple[str, str]]
) -> Association:
    ae = AE(calling)
    # One context each: a context with several encodings would leave the choice to the other side.
    ae.requested_contexts = [build_context(abstract, transfer) for abstract, transfer in dict.fromkeys(contexts)]
    ae.connection_timeout = 10
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 60
    arguments: dict[str, Any] = {"tls_args": (tls, host)} if tls else {}
    try:
        # pynetdicom only says that it failed, and leaves its socket open; the system says why.
        socket.create_connection((host, port), timeout=ae.connection_timeout).close()
        association = ae.associate(host, port, ae_title=called, max_pdu=0, **arguments)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise LinkError(f"{host} port {port} can't be reached: {reason}", hint=_HINT) from error
    if not association.is_established:
        raise LinkError(f"{called} at {host} port {port}: {_refusal(association)}", hint=_HINT)
    # pynetdicom's own reactor thread may, under load, take a response that `send_c_store` waits for, and drops it. A
    # requestor is asked for nothing, so whatever the reactor takes goes back to the one who waits.
    vars(association)["_serve_request"] = lambda msg, context_id: association.dimse.msg_queue.put((context_id, msg))
    return association


_HINT: Final = "Check address, port and AE titles, and that the receiver runs and knows this sender."


def _refusal(association: Association) -> str:
    """Why there is no association, in words (PS3.8 9.3.4)."""
    answer = association.acceptor.primitive
    if not association.is_rejected or answer is None:
        return "nobody answers there, or not in DICOM"
    return "refused: " + _REJECTED.get((answer.result_source, answer.diagnostic), "it gave no known reason")


def _store(association: Association, file: _File) -> int | None:
    """The status answered, or None when this kind of object was not accepted. Raises LinkError."""
    accepted = {(c.abstract_syntax, c.transfer_syntax[0]) for c in association.accepted_contexts}
    if file.context not in accepted:
        return None
    # A path makes pynetdicom send the bytes of the file as they are, in pieces, under the UIDs of the file meta. Where
    # these are missing or not the data set's, the data set is read, and its own are sent.
    _config.STORE_SEND_CHUNKED_DATASET = True
    try:
        answer = association.send_c_store(file.path if file.meta_agrees else dcmread(file.path))
    except (RuntimeError, OSError) as error:
        raise LinkError(f"The connection broke at {file.path.name}") from error
    if "Status" not in answer:
        raise LinkError(f"The connection broke, or nobody answered, at {file.path.name}")
    return int(answer.Status)


def echo(*, host: str, port: int, called_ae: str, calling_ae: str, tls: ssl.SSLContext | None = None) -> float:
    """C-ECHO (PS3.7 9.1.5). Returns its round trip in seconds. Raises LinkError when there is no good answer."""
    association = _associate(host, port, called_ae, calling_ae, tls, [(VERIFICATION, "1.2.840.10008.1.2")])
    try:
        start = time.monotonic()
        answer = association.send_c_echo()
        if "Status" not in answer or answer.Status != Status.SUCCESS:
            raise LinkError(f"{called_ae} at {host} port {port} did not answer the echo", hint=_HINT)
        return time.monotonic() - start
    finally:
        association.release() if association.is_established else association.abort()
