"""Cuts the power of a hub while a site uploads parcels to it: offsets and receipts that it gave out must survive."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import random
import sqlite3
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from support.launcher import Running
from support.mini_system import add_site
from support.power_cut import Rig
from support.processes import free_port, wait_for, write_hub
from support.safekeeping import Held, hub_leftovers, hub_problems
from support.tiny_instances import TinyInstance, make

from appliance.compress.pool import WorkerPool
from appliance.compress.values import ParcelContext, Source
from appliance.config import Compress
from appliance.hub.durable import sync_directory
from appliance.model.priority import Priority
from appliance.part10.meta import FileMeta, encode_prefix
from appliance.upload.headers import parcel_metadata

_PARCELS = 8
_INSTANCES = 3


@dataclass
class Parcel:
    """A parcel as its sender knows it: its bytes, and what the hub said of it."""

    content: bytes
    instances: list[TinyInstance]
    upload: str = ""
    acknowledged: int = 0
    verified: bool = False
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        self.digest = hashlib.sha256(self.content).hexdigest()


def pack_parcels(directory: Path, space: str, count: int = _PARCELS) -> list[Parcel]:
    """`count` small parcels; every fourth holds an instance that the one before holds, too, and some are larger."""
    directory.mkdir(parents=True)
    parcels = []
    with WorkerPool(Compress()) as pool:
        for number in range(count):
            first = number * _INSTANCES - (1 if number % 4 == 3 else 0)
            side = 160 if number % 5 == 2 else 8
            instances = [make(1, first + i, space=space, side=side) for i in range(_INSTANCES)]
            sources = [write_source(directory / f"{number}-{i}.dcm", one) for i, one in enumerate(instances)]
            context = ParcelContext(study_instance_uid=f"2.25.{space}.1", site="site-1", priority=Priority.ROUTINE)
            out = directory / f"{number}.parcel"
            pool.pack(sources, context, None, out)
            parcels.append(Parcel(out.read_bytes(), instances))
    return parcels


def write_source(path: Path, instance: TinyInstance) -> Source:
    """The instance as a received file, as the spool keeps it."""
    prefix = encode_prefix(FileMeta(instance.sop_class_uid, instance.sop_instance_uid, instance.transfer_syntax_uid))
    path.write_bytes(prefix + instance.data)
    return Source(
        path=path,
        data_offset=len(prefix),
        bytes=len(instance.data),
        digest=hashlib.sha256(instance.data).digest(),
        transfer_syntax_uid=instance.transfer_syntax_uid,
        sop_class_uid=instance.sop_class_uid,
        sop_instance_uid=instance.sop_instance_uid,
        received_at=1,
        calling_ae="TEST",
    )


class Site:
    """A site's side of docs/protocol.md, one request after the other. Raises OSError or HTTPException."""

    def __init__(self, port: int, secret: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        self._always = {"Authorization": f"Bearer {secret}", "Tus-Resumable": "1.0.0"}

    def close(self) -> None:
        """Closes the connection."""
        self._connection.close()

    def ask(
        self, method: str, target: str, headers: dict[str, str] | None = None, body: bytes | None = None
    ) -> tuple[http.client.HTTPResponse, bytes]:
        """One request and its whole answer."""
        self._connection.request(method, target, body, {**self._always, **(headers or {})})
        response = self._connection.getresponse()
        return response, response.read()

    def open(self, parcel: Parcel) -> int:
        """Creates the upload, or finds it; the offset that the hub says."""
        headers = {"Upload-Length": str(len(parcel.content))}
        headers["Upload-Metadata"] = parcel_metadata(parcel.digest, Priority.ROUTINE.word)
        response, _ = self.ask("POST", "/v1/uploads", headers)
        if response.status != 201:
            raise ConnectionError(f"POST answered {response.status}")
        parcel.upload = urlsplit(response.headers["Location"]).path
        return int(response.headers["Upload-Offset"])

    def send(self, parcel: Parcel, offset: int, count: int) -> int:
        """Sends `count` bytes from `offset`; the offset that the hub says then."""
        headers = {"Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream"}
        response, _ = self.ask("PATCH", parcel.upload, headers, parcel.content[offset : offset + count])
        if response.status != 204:
            raise ConnectionError(f"PATCH answered {response.status}")
        return int(response.headers["Upload-Offset"])

    def verdict(self, parcel: Parcel, wait: int = 5) -> dict[str, object]:
        """The hub's verdict on the parcel."""
        response, body = self.ask("GET", f"/v1/parcels/{parcel.digest}?wait={wait}")
        if response.status != 200:
            raise ConnectionError(f"GET of a verdict answered {response.status}")
        answer: dict[str, object] = json.loads(body)
        return answer


class HubRig(Rig):
    """`hub` alone: a site sends parcels in pieces and asks for verdicts."""

    name = "hub"
    rooms = ("hub",)
    mutations = 500

    def prepare(self) -> None:
        self.data = self.disk.directory / "hub"
        self.port = free_port()
        self.config = write_hub(self.directory / "hub.toml", self.data, self.port)
        self.parcels = pack_parcels(self.directory / "parcels", str(self.seed + 1))
        self.data.mkdir()
        self.secret = add_site(self.config)
        sync_directory(self.disk.directory)
        self.held: set[Held] = set()
        self.broken: list[str] = []
        self.endless_count = 0
        self.given_up: list[Parcel] = []
        self.endless = self._new_endless()

    def start(self) -> list[Running]:
        return [self.launcher.start("hub", self.config, self.faults)]

    def load(self) -> None:
        while not self.cut.is_set():
            site = Site(self.port, self.secret)
            with contextlib.suppress(OSError, http.client.HTTPException):
                while not self.cut.is_set():
                    self._work(site)
            site.close()
            self.cut.wait(0.002)

    def _work(self, site: Site) -> None:
        """A piece of a parcel, a piece of an upload that never ends, and a look at the verdicts, in turn.

        The hub checks a parcel in a fresh sandbox, which takes a while; so the disk is kept busy with other pieces.
        """
        for parcel in self.parcels:
            if not parcel.verified:
                self._send_piece(site, parcel, pieces=3)
                self._settle(site, parcel)
            for _ in range(4):
                if self.cut.is_set():
                    return
                self._send_piece(site, self.endless, pieces=40)
            if self.endless.acknowledged * 2 > len(self.endless.content):
                self.given_up.append(self.endless)
                self.endless = self._new_endless()
                site.ask("DELETE", self.given_up[-1].upload)

    def _new_endless(self) -> Parcel:
        self.endless_count += 1
        return Parcel(random.Random(f"{self.seed}/{self.endless_count}").randbytes(300_000), [])

    def _send_piece(self, site: Site, parcel: Parcel, *, pieces: int) -> None:
        offset = site.open(parcel)
        self._compare(parcel, offset)
        if offset < len(parcel.content):
            parcel.acknowledged = site.send(parcel, offset, len(parcel.content) // pieces + 1)
            self.summary.acknowledged += 1

    def _compare(self, parcel: Parcel, offset: int) -> None:
        if offset < parcel.acknowledged:
            self.broken.append(f"a parcel had {parcel.acknowledged} durable bytes, and now the hub says {offset}")

    def _settle(self, site: Site, parcel: Parcel) -> None:
        answer = site.verdict(parcel, wait=0)
        if answer["verdict"] == "refused":
            self.broken.append(f"a good parcel was refused: {answer.get('refusal')}: {answer.get('reason')}")
        if answer["verdict"] == "verified":
            parcel.verified = True
            self.held |= {(one.sop_instance_uid, one.digest) for one in parcel.instances}

    def check(self) -> list[str]:
        if not (self.data / "hub.db").exists():
            return ["the hub's index is gone"]
        return hub_problems(self.data, self.held) + self._lost_offsets() + self.broken

    def _lost_offsets(self) -> list[str]:
        """What of the acknowledged bytes the index or the file no longer has."""
        with contextlib.closing(sqlite3.connect(self.data / "hub.db", isolation_level=None)) as database:
            query = 'SELECT digest, name, verdict, "offset" FROM parcel'
            rows = {row[0].hex(): row[1:] for row in database.execute(query)}
        problems = []
        for parcel in [*self.parcels, self.endless]:
            name, verdict, offset = rows.get(parcel.digest, ("", "unknown", 0))
            if parcel.verified and verdict != "verified":
                problems.append(f"a verified parcel is {verdict} after the cut")
            if offset < parcel.acknowledged:
                problems.append(f"the hub had said {parcel.acknowledged} bytes, and its index says {offset}")
            if verdict in {"partial", "checking"}:
                file = self.data / "uploads" / name
                content = file.read_bytes() if file.exists() else b""
                if content[:offset] != parcel.content[:offset]:
                    problems.append(f"of {offset} bytes in the hub's index, its file does not hold all")
        return problems

    def finish(self) -> list[str]:
        (running,) = self.start()
        try:
            wait_for(self._all_verified, "every parcel is verified", 120.0)
            wait_for(lambda: not hub_leftovers(self.data), "the hub is tidy", 10.0)
        except TimeoutError as error:
            return [str(error), *hub_leftovers(self.data), running.log.read_text()[-1500:]]
        code = running.stop()
        problems = [f"hub ended with exit code {code}"] if code else []
        return problems + self.check()

    def _all_verified(self) -> bool:
        site = Site(self.port, self.secret)
        with contextlib.suppress(OSError, http.client.HTTPException):
            for parcel in [*self.given_up, self.endless]:  # a cut may have come before the hub was told
                if parcel.upload:
                    site.ask("DELETE", parcel.upload)
            self.given_up, self.endless = [], Parcel(b"", [])
            for parcel in self.parcels:
                if not parcel.verified:
                    self._send_piece(site, parcel, pieces=3)
                    self._settle(site, parcel)
        site.close()
        return bool(self.broken) or all(parcel.verified for parcel in self.parcels)
