"""Who carries studies from site to hub: ours and its peers, each with its own two ends in a tunnel, on its defaults."""

from __future__ import annotations

import json
import shutil
import sqlite3
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Final

from appliance.hub.index.database import FILE_NAME
from harness.namespaces import Place
from harness.ours import STAT_AE, UNIT_AE, Hub, Unit
from harness.peers import CALLING_AE, program
from harness.processes import Running, free_port
from harness.samples import Sample
from harness.wireguard import Tunnel

ORTHANC_PLUGIN: Final = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
_HERE = Path(__file__).parent
_BOUNDARY = "gateway-bench"


class Contestant(ABC):
    """As a context manager: both ends are up when it is entered. `j2k`: it sends the JPEG 2000 files."""

    j2k = False
    sends_at_once = True  # `send` begins with what the line must carry

    def __init__(self, tunnel: Tunnel, directory: Path) -> None:
        directory.mkdir(parents=True)
        self.site, self.hub, self.directory = tunnel.site, tunnel.hub, directory
        self._stack = ExitStack()
        self._senders: list[Running] = []

    def __enter__(self) -> Contestant:
        with ExitStack() as stack:
            self.set_up(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        for sender in self._senders:
            sender.kill()
        self._stack.close()

    @abstractmethod
    def set_up(self, stack: ExitStack) -> None:
        """Starts both ends."""

    @abstractmethod
    def send(self, samples: Sequence[Sample]) -> None:
        """Begins to send; what was begun before goes on."""

    def send_stat(self, sample: Sample) -> None:
        """The same for a study that can't wait; most know no such thing."""
        self.send([sample])

    @abstractmethod
    def arrived(self) -> set[str]:
        """SOP Instance UIDs of what is whole at the hub."""

    def has_failed(self) -> bool:
        """Whether a sender has given up."""
        return any(sender.returncode not in {None, 0} for sender in self._senders)

    def start(self, name: str, words: Sequence[str | Path]) -> Running:
        """Starts a sender at the site."""
        running = Running(name, self.site.command(words), self.directory / f"{name}-{len(self._senders)}.log")
        self._senders.append(running)
        return running

    def serve(self, stack: ExitStack, place: Place, name: str, words: Sequence[str | Path], *ports: int) -> None:
        """Starts a server at a place and waits for its ports."""
        running = stack.enter_context(Running(name, place.command(words), self.directory / f"{name}.log"))
        for port in ports:
            running.wait_until(partial(place.listens, port), f"listening on port {port}")


class Ours(Contestant):
    """A unit's processes at the site, a hub's at the hub. Arrived is what the hub has verified."""

    verbs: tuple[str, ...] = ("receive", "compress", "forward")

    def set_up(self, stack: ExitStack) -> None:
        self.server = stack.enter_context(Hub(self.directory / "hub", self.hub))
        self.unit = stack.enter_context(Unit(self.directory / "unit", self.server, place=self.site))
        self.unit.start(*self.verbs)
        if "forward" in self.verbs:
            forward = self.unit.processes["forward"]
            forward.wait_until(lambda: self.unit.count("SELECT up FROM link") == 1, "an answer of the hub")
        self._index = stack.enter_context(closing(self._open_index()))

    def send(self, samples: Sequence[Sample]) -> None:
        self._store(samples, CALLING_AE)

    def send_stat(self, sample: Sample) -> None:
        self._store([sample], STAT_AE)

    def _store(self, samples: Sequence[Sample], title: str) -> None:
        words = [program("storescu"), "--aetitle", title, "--call", UNIT_AE, "127.0.0.1", str(self.unit.dicom_port)]
        self.start("storescu", [*words, *(sample.plain for sample in samples)])

    def arrived(self) -> set[str]:
        return {str(row[0]) for row in self._index.execute("SELECT sop_instance_uid FROM instance")}

    def bytes_held(self) -> int:
        """Bytes of parcels that are durable at the hub."""
        return int(self._index.execute('SELECT coalesce(sum("offset"), 0) FROM parcel').fetchone()[0])

    def _open_index(self) -> sqlite3.Connection:
        return sqlite3.connect(f"file:{self.server.data / FILE_NAME}?mode=ro", uri=True)


class OursPacked(Ours):
    """The same, but `forward` starts when all is packed: what is measured is sending alone."""

    verbs = ("receive", "compress")
    sends_at_once = False

    def send(self, samples: Sequence[Sample]) -> None:
        super().send(samples)
        packed = "SELECT count(*) FROM instance WHERE state <> 'received'"
        self.unit.processes["compress"].wait_until(lambda: self.unit.count(packed) >= len(samples), "packing", 600)
        self.unit.start("forward")


class Storescu(Contestant):
    """dcmtk's storescu to its storescp, one association."""

    def set_up(self, stack: ExitStack) -> None:
        self._store, self._port = self.directory / "store", free_port()
        self._store.mkdir()
        options = ["--accept-all", "--output-directory", str(self._store)]
        self.serve(stack, self.hub, "storescp", [program("storescp"), *options, str(self._port)], self._port)

    def send(self, samples: Sequence[Sample]) -> None:
        syntax = ["--propose-j2k-lossless"] if self.j2k else []
        files = [sample.file(j2k=self.j2k) for sample in samples]
        self.start("storescu", [program("storescu"), *syntax, self.hub.address, str(self._port), *files])

    def arrived(self) -> set[str]:
        return {file.name.partition(".")[2] for file in self._store.iterdir()}


class StorescuJ2k(Storescu):
    j2k = True


class _ToOrthanc(Contestant):
    """An Orthanc with DICOMweb at the hub."""

    def set_up(self, stack: ExitStack) -> None:
        self._dicom_port, self._http_port = self._orthanc(stack, self.hub, {})

    def arrived(self) -> set[str]:
        found = json.loads(self._curl(self.hub, self._http_port, "/instances?expand"))
        return {one["MainDicomTags"]["SOPInstanceUID"] for one in found}

    def _orthanc(self, stack: ExitStack, place: Place, more: dict[str, object]) -> tuple[int, int]:
        """Starts one; its DICOM and HTTP ports."""
        directory = self.directory / f"orthanc-{place.interface}"
        directory.mkdir()
        dicom, http = free_port(), free_port()
        configuration = {
            "StorageDirectory": str(directory / "storage"),
            "IndexDirectory": str(directory / "index"),
            "Plugins": [str(ORTHANC_PLUGIN)],
            "HttpPort": http,
            "DicomPort": dicom,
            "RemoteAccessAllowed": True,
            "AuthenticationEnabled": False,
            "DicomCheckCalledAet": False,
            **more,
        }
        file = directory / "orthanc.json"
        file.write_text(json.dumps(configuration), "utf-8")
        self.serve(stack, place, directory.name, [program("Orthanc"), file], dicom, http)
        return dicom, http

    def _curl(self, place: Place, port: int, path: str, *options: str | Path) -> str:
        words = ("--silent", "--show-error", "--fail", f"http://127.0.0.1:{port}{path}")
        return place.run("curl", *words, *options)


class OrthancCStore(_ToOrthanc):
    """Orthanc to Orthanc by a job of C-STORE."""

    def set_up(self, stack: ExitStack) -> None:
        super().set_up(stack)
        at_hub = {
            "DicomModalities": {"hub": ["ORTHANC", self.hub.address, self._dicom_port]},
            "DicomWeb": {"Servers": {"hub": [f"http://{self.hub.address}:{self._http_port}/dicom-web/"]}},
        }
        _, self._site_port = self._orthanc(stack, self.site, at_hub)
        self._jobs: list[str] = []

    def send(self, samples: Sequence[Sample]) -> None:
        self._begin_job(samples, priority=0)

    def send_stat(self, sample: Sample) -> None:
        self._begin_job([sample], priority=1)

    def _begin_job(self, samples: Sequence[Sample], priority: int) -> None:
        ids = [json.loads(self._post("/instances", f"@{one.file(j2k=self.j2k)}"))["ID"] for one in samples]
        job = {"Resources": ids, "Synchronous": False, "Priority": priority}
        self._jobs.append(json.loads(self._post(self.job_path, json.dumps(job)))["ID"])

    job_path = "/modalities/hub/store"

    def has_failed(self) -> bool:
        jobs = (json.loads(self._curl(self.site, self._site_port, f"/jobs/{job}")) for job in self._jobs)
        return any(job["State"] == "Failure" for job in jobs)

    def _post(self, path: str, body: str) -> str:
        return self._curl(self.site, self._site_port, path, "--header", "Expect:", "--data-binary", body)


class OrthancCStoreJ2k(OrthancCStore):
    j2k = True


class OrthancStow(OrthancCStore):
    """Orthanc to Orthanc by a job of STOW-RS."""

    job_path = "/dicom-web/servers/hub/stow"


class OrthancStowJ2k(OrthancStow):
    j2k = True


class CurlStow(_ToOrthanc):
    """curl, a STOW-RS request for each file over one connection, to Orthanc."""

    def send(self, samples: Sequence[Sample]) -> None:
        entries = [self._entry(sample) for sample in samples]
        file = self.directory / f"curl-{len(self._senders)}.conf"
        file.write_text("next\n".join(entries), "utf-8")
        self.start("curl", ["curl", "--silent", "--show-error", "--fail-early", "--config", file])

    def _entry(self, sample: Sample) -> str:
        body = self.directory / f"{sample.uid}.body"
        head = f"--{_BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        body.write_bytes(head + sample.file(j2k=self.j2k).read_bytes() + f"\r\n--{_BOUNDARY}--\r\n".encode())
        kind = f'multipart/related; type=\\"application/dicom\\"; boundary={_BOUNDARY}'
        url = f"http://{self.hub.address}:{self._http_port}/dicom-web/studies"
        return f'url = "{url}"\nfail\nheader = "Content-Type: {kind}"\nheader = "Expect:"\ndata-binary = "@{body}"\n'


class CurlStowJ2k(CurlStow):
    j2k = True


class Rsync(Contestant):
    """rsync of the files to a daemon at the hub."""

    def set_up(self, stack: ExitStack) -> None:
        self._store, self._port = self.directory / "store", free_port()
        self._store.mkdir()
        self._sizes: dict[str, int] = {}
        file = self.directory / "rsyncd.conf"
        file.write_text(
            f"use chroot = no\nuid = root\ngid = root\n[in]\npath = {self._store}\nread only = no\n", "utf-8"
        )
        words = ["rsync", "--daemon", "--no-detach", f"--config={file}", f"--port={self._port}"]
        self.serve(stack, self.hub, "rsyncd", [*words, f"--address={self.hub.address}"], self._port)

    def send(self, samples: Sequence[Sample]) -> None:
        files = [sample.file(j2k=self.j2k) for sample in samples]
        self._sizes |= {file.name: file.stat().st_size for file in files}
        self.start("rsync", ["rsync", "--archive", *files, f"rsync://{self.hub.address}:{self._port}/in/"])

    def arrived(self) -> set[str]:
        files = (file for file in self._store.iterdir() if not file.name.startswith("."))
        return {file.stem for file in files if file.stat().st_size == self._sizes[file.name]}


class RsyncJ2k(Rsync):
    j2k = True


class Tuspy(Contestant):
    """tuspy, an upload for each file, to our hub as a plain tus server."""

    def set_up(self, stack: ExitStack) -> None:
        self._server = stack.enter_context(Hub(self.directory / "hub", self.hub))

    def send(self, samples: Sequence[Sample]) -> None:
        secret = self._server.secret_file.read_text("ascii").strip()
        files = [sample.file(j2k=self.j2k) for sample in samples]
        self.start("tuspy", [sys.executable, _HERE / "tuspy_send.py", f"{self._server.url}/v1/uploads", secret, *files])

    def arrived(self) -> set[str]:
        return {word for log in self.directory.glob("tuspy-*.log") for word in log.read_text("utf-8").split()}


class TuspyJ2k(Tuspy):
    j2k = True


PEERS: Final[dict[str, type[Contestant]]] = {
    "storescu": Storescu,
    "storescu-j2k": StorescuJ2k,
    "orthanc-c-store": OrthancCStore,
    "orthanc-c-store-j2k": OrthancCStoreJ2k,
    "orthanc-stow": OrthancStow,
    "orthanc-stow-j2k": OrthancStowJ2k,
    "curl-stow": CurlStow,
    "curl-stow-j2k": CurlStowJ2k,
    "rsync": Rsync,
    "rsync-j2k": RsyncJ2k,
    "tuspy": Tuspy,
    "tuspy-j2k": TuspyJ2k,
}


def missing() -> list[str]:
    """Debian packages that a peer needs and this machine lacks."""
    found = [package for name, package in (("rsync", "rsync"), ("curl", "curl")) if shutil.which(name) is None]
    return found + ([] if ORTHANC_PLUGIN.exists() else ["orthanc-dicomweb"])
