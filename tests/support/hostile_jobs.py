"""The worker's jobs, with a codec that does harm when a block of pixels asks for it: what an exploit would try.

A worker is started with the name of this module instead of `appliance.compress.jobs`. The harm is done where real
codecs run: inside the sandbox, while an instance is packed or unpacked.
"""

from __future__ import annotations

import ctypes
import errno
import itertools
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
from support import canary

from appliance.compress import jobs, read, write
from appliance.compress.channel import Ask, Done, Failed, pack_value
from appliance.compress.codecs import decode_block, encode_block
from appliance.compress.codecs.base import Codec
from appliance.compress.codecs.store import Store
from appliance.compress.jobs import JOBS as _REAL_JOBS
from appliance.compress.layout import Layout
from appliance.compress.session import Session

JOBS: Final = dict(_REAL_JOBS)
MARK: Final = b"HARM:"
ENDLESS: Final = "endless"
_LIBC: Final = ctypes.CDLL(None, use_errno=True)


def pixels(harm: str, target: str = "", *, when: str = "encode", size: int = 2048) -> bytes:
    """Pixels that make the worker do `harm` to `target`, while packing (`encode`) or unpacking (`decode`)."""
    return (MARK + f"{when}:{harm}:{target}:".encode()).ljust(size, b"\0")


def _connect(target: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as client:
        client.connect(("127.0.0.1", int(target)))


def _execute(target: str) -> None:
    subprocess.run(["/bin/touch", target], check=True)


def _execute_here(target: str) -> None:
    os.execv("/bin/touch", ["touch", target])


def _fork(_target: str) -> None:
    os.fork()


def _thread(_target: str) -> None:
    threading.Thread(target=time.sleep, args=(1,)).start()


def _write_file(target: str) -> None:
    Path(target).write_text("owned")


def _write_by_system_call(target: str) -> None:
    """As shell code would, past Python: 257 and 56 are openat, 437 is openat2."""
    number = 257 if os.uname().machine == "x86_64" else 56
    for call in (number, 437):
        _LIBC.syscall(call, -100, target.encode(), os.O_CREAT | os.O_WRONLY, 0o666)
    raise PermissionError(1, "Operation not permitted")


def _read_file(_target: str) -> None:
    Path("/etc/passwd").read_text()


def _allocate(_target: str) -> None:
    bytearray(4 << 30)


def _burn(_target: str) -> None:
    while True:
        pass


def _hang(_target: str) -> None:
    time.sleep(3600)


def _crash(_target: str) -> None:
    ctypes.string_at(0)


def _kill_pool(_target: str) -> None:
    os.kill(os.getppid(), signal.SIGKILL)


def _trace_pool(_target: str) -> None:
    _LIBC.ptrace(16, os.getppid(), 0, 0)


def _remove_file(target: str) -> None:
    Path(target).unlink()


def _fill_disk(_target: str) -> None:
    for descriptor in range(3, 64):
        try:
            os.pwrite(descriptor, b"x", 1 << 40)
        except OSError:
            continue


def _say(message: bytes) -> None:
    for descriptor in range(3, 64):
        try:
            os.fstat(descriptor)
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, os.dup(descriptor)) as copy:
                copy.send(message)
        except OSError:
            continue


def _babble(_target: str) -> None:
    """Noise on the socket to the pool."""
    _say(b"\x81\xa4type\xc1 noise")


def _forge(_target: str) -> None:
    """Says that the parcel is finished, with three instances in it."""
    _say(msgspec.msgpack.encode(Done(result=pack_value(write.PackResult(instances=3, codecs={})))))


def _skip(_target: str) -> None:
    """Asks for an instance out of turn."""
    _say(msgspec.msgpack.encode(Ask(index=9, facts=pack_value(None))))


def _slander(_target: str) -> None:
    """Says why it can't go on, in words of what it read."""
    _say(msgspec.msgpack.encode(Failed(fault=canary.NAME, kind=canary.PATIENT_ID, place=f"{canary.NAME}.py:1")))


def _lie(_target: str) -> None:
    """Does nothing; `_harmful_encode` then gives other bytes away."""


def _doze(target: str) -> None:
    """Takes its time: `target` seconds, which may be less than an instance is given."""
    time.sleep(float(target))


def _disk_fails(_target: str) -> None:
    """As if a file could not be read, whether that is so or not."""
    raise OSError(errno.EIO, canary.NAME)


HARMS: Final[dict[str, Callable[[str], None]]] = {
    "connect": _connect,
    "execute": _execute,
    "execute_here": _execute_here,
    "fork": _fork,
    "thread": _thread,
    "write_file": _write_file,
    "write_by_system_call": _write_by_system_call,
    "read_file": _read_file,
    "remove_file": _remove_file,
    "allocate": _allocate,
    "burn": _burn,
    "hang": _hang,
    "crash": _crash,
    "kill_pool": _kill_pool,
    "trace_pool": _trace_pool,
    "fill_disk": _fill_disk,
    "lie": _lie,
    "babble": _babble,
    "forge": _forge,
    "skip": _skip,
    "slander": _slander,
}
_DELAYS: Final[dict[str, Callable[[str], None]]] = {"doze": _doze}  # no harm by itself
_FAULTS: Final[dict[str, Callable[[str], None]]] = {"disk_fails": _disk_fails}  # nor this


def _harm(block: bytes, when: str, *, coded: bool = True) -> str:
    """Does what the block asks for at this moment; returns its name, empty when it asks for nothing.

    A block that no codec touches is not slow.
    """
    _, mark, asked = block.partition(MARK)
    if not mark:
        return ""
    moment, harm, target = asked.split(b":")[:3]
    if moment.decode() != when:
        return ""
    if harm.decode() in _DELAYS and not coded:
        return ""
    (HARMS | _DELAYS | _FAULTS)[harm.decode()](target.decode())
    return harm.decode()


def _harmful_encode(block: bytes, layout: Layout) -> tuple[Codec, bytes]:
    if _harm(block, "encode") == "lie":
        return encode_block(block[::-1], layout)
    return encode_block(block, layout)


def _harmful_decode(codec_id: int, payload: bytes, layout: Layout, size: int) -> bytes:
    block = decode_block(codec_id, payload, layout, size)
    return block[::-1] if _harm(block, "decode", coded=codec_id != Store.id) == "lie" else block


def _endless_read(
    session: Session, request: read.UnpackRequest, descriptor: int, sink: read.Sink, dictionary: bytes | None
) -> None:
    """A parcel of the site `endless` has instances without end, each of no byte at all."""
    manifest = read.open_parcel(descriptor, dictionary).manifest
    if manifest.site != ENDLESS:
        read.read_parcel(session, request, descriptor, sink, dictionary)
        return
    facts = read.ParcelFacts(study=manifest.study, site=ENDLESS, priority="stat", digests=bytes(32), instances=1 << 40)
    nothing = read.InstanceFacts(
        sop_instance_uid="1.2.3",
        sop_class_uid="1.2.3",
        transfer_syntax_uid="1.2.3",
        calling_ae="",
        received_at=0,
        bytes=0,
        header_bytes=0,
        keep_header=False,
    )
    session.ask(-1, facts, type(None))
    for index in itertools.count():
        session.ask(index, nothing, type(None))


write.encode_block = _harmful_encode
read.decode_block = _harmful_decode
jobs.read_parcel = _endless_read
