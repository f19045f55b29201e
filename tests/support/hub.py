"""A hub in a thread of the test, on a port of its own, with sites; and parcels to send to it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import socket
import sqlite3
import struct
import threading
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support import tiny_instances
from support.tiny_instances import TinyInstance

from appliance.compress.pool import WorkerPool
from appliance.compress.values import ParcelContext, Source
from appliance.config import Compress, HubConfig, HubLimits, HubServer
from appliance.hub.credentials import new_secret
from appliance.hub.index import sites
from appliance.hub.index.database import Index
from appliance.hub.server import Hub
from appliance.model.priority import Priority
from appliance.part10.meta import FileMeta, encode_prefix

MIB = 1 << 20


def hub_config(data: Path, compress: Compress | None = None, **values: Any) -> HubConfig:
    """A hub on a free port of loopback. `values`: keys of [hub] and [limits]."""
    limits = {key: value for key, value in values.items() if key in HubLimits.__struct_fields__}
    hub = {key: value for key, value in values.items() if key not in limits}
    return HubConfig(
        hub=HubServer(**{"data": str(data), "port": 0, "reserve_bytes": MIB, **hub}),
        limits=HubLimits(**limits),
        compress=compress or Compress(),
    )


def add_site(config: HubConfig, site: str = "site-1") -> str:
    """Adds a site and returns its credential."""
    secret, digest = new_secret(site)
    index = Index.open(config)
    with index.write() as connection:
        sites.add(connection, site, site.title(), digest, 0)
    index.close()
    return secret


@dataclass
class Answer:
    """What the hub answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def offset(self) -> int:
        return int(self.headers["upload-offset"])


@dataclass
class Client:
    """A site's requests, one connection each."""

    url: str
    secret: str
    seconds: float = 30.0

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        """`headers`: Upload_Offset=… stands for `Upload-Offset: …`; an empty value leaves a default out."""
        given = {"Authorization": f"Bearer {self.secret}", "Tus-Resumable": "1.0.0"}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        url = path if path.startswith("http") else self.url + path
        request = urllib.request.Request(url, body, {k: v for k, v in given.items() if v}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=self.seconds) as answer:
                return _answer(answer.status, answer.headers, answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return _answer(error.code, error.headers, error.read())

    def create(self, length: int, digest: str | None = None, priority: str = "routine", **headers: str) -> Answer:
        pairs = {"parcel": digest, "priority": priority} if digest else {}
        text = ",".join(f"{key} {b64encode(value.encode()).decode()}" for key, value in pairs.items() if value)
        return self.ask("POST", "/v1/uploads", Upload_Length=str(length), Upload_Metadata=text, **headers)

    def head(self, location: str) -> Answer:
        return self.ask("HEAD", location)

    def patch(self, location: str, offset: int, body: bytes, **headers: str) -> Answer:
        kind = {"Content_Type": "application/offset+octet-stream", "Upload_Offset": str(offset)}
        return self.ask("PATCH", location, body, **(kind | headers))

    def verdict(self, digest: str, wait: float = 20) -> Any:
        return self.ask("GET", f"/v1/parcels/{digest}?wait={wait}").json

    def send(self, parcel: bytes, priority: str = "routine") -> Any:
        """Sends a whole parcel and returns its final verdict."""
        digest = hashlib.sha256(parcel).hexdigest()
        created = self.create(len(parcel), digest, priority)
        assert created.status == 201, created
        if created.offset < len(parcel):
            sent = self.patch(created.headers["location"], created.offset, parcel[created.offset :])
            assert sent.status == 204, sent
        return self.verdict(digest)


class RawRequest:
    """A request over a plain socket, to stop, trickle or cut at any byte."""

    def __init__(self, url: str, head: str) -> None:
        host, _, port = url.removeprefix("http://").partition(":")
        self._socket = socket.create_connection((host, int(port)), 10)
        self.send(head.encode())

    @classmethod
    def patch(cls, client: Client, location: str, offset: int, length: int | None, **headers: str) -> RawRequest:
        """A PATCH of which only the head is sent; `length` None: chunked."""
        path = location.removeprefix(client.url)
        given = {
            "Host": client.url.removeprefix("http://"),
            "Authorization": f"Bearer {client.secret}",
            "Tus-Resumable": "1.0.0",
            "Content-Type": "application/offset+octet-stream",
            "Upload-Offset": str(offset),
            **({"Transfer-Encoding": "chunked"} if length is None else {"Content-Length": str(length)}),
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in given.items())
        return cls(client.url, f"PATCH {path} HTTP/1.1\r\n{lines}\r\n")

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def send_chunk(self, data: bytes) -> None:
        self.send(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def answer(self, seconds: float = 10) -> bytes:
        """All that comes until the hub closes, or the head of the answer is whole; empty when it closed at once."""
        self._socket.settimeout(seconds)
        got = b""
        try:
            while b"\r\n\r\n" not in got and (piece := self._socket.recv(65536)):
                got += piece
        except ConnectionError:
            return got
        return got

    def status(self, seconds: float = 10) -> int:
        """The status of the answer; 0 when there was none."""
        words = self.answer(seconds).split(b" ", 2)
        return int(words[1]) if len(words) > 1 else 0

    def cut(self) -> None:
        """Closes with a reset: no goodbye."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def close(self) -> None:
        self._socket.close()


def _answer(status: int, headers: Any, body: bytes) -> Answer:
    return Answer(status, {name.lower(): value for name, value in headers.items()}, body)


@dataclass
class RunningHub:
    """A hub that runs in a thread."""

    config: HubConfig
    secret: str
    url: str = ""
    hub: Hub | None = None
    loop: asyncio.AbstractEventLoop | None = None
    _ended: threading.Event = field(default_factory=threading.Event)

    @property
    def data(self) -> Path:
        return self.config.data

    def client(self, secret: str | None = None) -> Client:
        return Client(self.url, secret or self.secret)

    def rows(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        """A query of the index."""
        with contextlib.closing(sqlite3.connect(self.data / "hub.db", timeout=30)) as database:
            database.row_factory = sqlite3.Row
            return database.execute(sql, values).fetchall()


@contextlib.contextmanager
def running_hub(config: HubConfig, secret: str | None = None) -> Iterator[RunningHub]:
    """Starts a hub, with a site `site-1` unless a secret is given, and ends it."""
    running = RunningHub(config, secret or add_site(config))
    ready: list[BaseException | None] = []
    listening = threading.Event()

    async def serve() -> None:
        hub = Hub(config)
        try:
            await hub.start()
        except BaseException as error:
            ready.append(error)
            listening.set()
            raise
        running.hub, running.url, running.loop = hub, hub.url, asyncio.get_running_loop()
        ready.append(None)
        listening.set()
        while not running._ended.is_set():
            hub.check_alive()
            await asyncio.sleep(0.02)
        await hub.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    listening.wait(30)
    try:
        if ready[0]:
            raise ready[0]
        yield running
    finally:
        running._ended.set()
        thread.join(30)
        assert not thread.is_alive(), "the hub did not end"


def part10(instance: TinyInstance) -> bytes:
    """The instance as a DICOM file."""
    meta = FileMeta(instance.sop_class_uid, instance.sop_instance_uid, instance.transfer_syntax_uid)
    return encode_prefix(meta) + instance.data


def source(path: Path, instance: TinyInstance, **values: Any) -> Source:
    """Writes the instance to a file as a unit's spool has it."""
    path.write_bytes(part10(instance))
    fields = {
        "path": path,
        "data_offset": len(part10(instance)) - len(instance.data),
        "bytes": len(instance.data),
        "digest": hashlib.sha256(instance.data).digest(),
        "transfer_syntax_uid": instance.transfer_syntax_uid,
        "sop_class_uid": instance.sop_class_uid,
        "sop_instance_uid": instance.sop_instance_uid,
        "received_at": 1_000,
        "calling_ae": "CT1",
    }
    return Source(**(fields | values))


def pack(
    directory: Path,
    sources: Sequence[Source],
    study: str,
    dictionary: bytes | None = None,
    pool: WorkerPool | None = None,
) -> bytes:
    """A parcel of these, as a unit makes it. A pool that is given is not closed."""
    directory.mkdir(exist_ok=True)
    out = directory / f"{time.monotonic_ns()}.parcel"
    context = ParcelContext(study_instance_uid=study, site="site-1", priority=Priority.ROUTINE)
    if pool:
        pool.pack(sources, context, dictionary, out)
    else:
        with WorkerPool(Compress(parcel_bytes=64 * MIB)) as used:
            used.pack(sources, context, dictionary, out)
    return out.read_bytes()


def tiny_parcel(directory: Path, study: int, numbers: Sequence[int], **changed: Any) -> bytes:
    """A parcel of small instances of one study."""
    directory.mkdir(exist_ok=True)
    instances = [tiny_instances.make(study, number, **changed) for number in numbers]
    sources = [source(directory / f"{study}-{number}.dcm", i) for number, i in zip(numbers, instances, strict=True)]
    return pack(directory, sources, f"2.25.{changed.get('space', '1')}.{study}")
