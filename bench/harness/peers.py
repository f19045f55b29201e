"""What we measure ourselves against: Orthanc and dcmtk's storescp, on their defaults, and storescu as the modality."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from harness.lan import LOOPBACK, Network
from harness.processes import Running, free_port

CALLING_AE = "MODALITY"
NO_DELAY = {"TCP_NODELAY": "1"}  # what dcmtk reads from its environment


def program(name: str) -> str:
    """The path of a peer's program; exits with what to install when it is missing."""
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin")
    if found is None:
        raise SystemExit(f"{name} is missing: install the Debian packages dcmtk and orthanc")
    return found


def versions() -> str:
    """The peers' versions, for the machine's line."""
    dcmtk = subprocess.run([program("storescu"), "--version"], check=True, capture_output=True, text=True).stdout
    orthanc = subprocess.run([program("Orthanc"), "--version"], check=True, capture_output=True, text=True).stdout
    return f"dcmtk {dcmtk.split()[2].lstrip('v')}, Orthanc {orthanc.split()[1]}"


class Orthanc:
    """An Orthanc of its own below `directory`. `peers` names other Orthancs by their URL."""

    def __init__(self, directory: Path, *, peers: dict[str, str] | None = None) -> None:
        directory.mkdir(parents=True)
        self.dicom_port, self.http_port = free_port(), free_port()
        configuration = {
            "Name": directory.name,
            "StorageDirectory": str(directory / "storage"),
            "IndexDirectory": str(directory / "index"),
            "Plugins": [],
            "HttpPort": self.http_port,
            "DicomPort": self.dicom_port,
            "AuthenticationEnabled": False,
            "DicomCheckCalledAet": False,
            "OrthancPeers": {name: [url, "", ""] for name, url in (peers or {}).items()},
        }
        file = directory / "orthanc.json"
        file.write_text(json.dumps(configuration), "utf-8")
        self.running = Running("Orthanc", [program("Orthanc"), file], directory / "log")
        self.running.wait_for_port(self.http_port).wait_for_port(self.dicom_port)

    def __enter__(self) -> Orthanc:
        return self

    def __exit__(self, *_: object) -> None:
        self.running.kill()  # it takes seconds to end by itself, and no one reads its files again

    @property
    def url(self) -> str:
        """Its REST API."""
        return f"http://127.0.0.1:{self.http_port}"

    def call(self, path: str, body: bytes | dict[str, Any] | None = None) -> Any:
        """GET, or POST of a body; returns the JSON of the answer."""
        data = json.dumps(body).encode() if isinstance(body, dict) else body
        with urlopen(Request(self.url + path, data), timeout=600) as answer:
            return json.load(answer)


class Storescp:
    """dcmtk's receiver: writes each object to a file, and never fsyncs. With `fork`, a process for each association."""

    def __init__(self, directory: Path, *, no_delay: bool = False, fork: bool = False) -> None:
        store = directory / "store"
        store.mkdir(parents=True)
        self.dicom_port = free_port()
        options = ["--fork"] if fork else []
        command = [program("storescp"), *options, "--output-directory", store, str(self.dicom_port)]
        self.running = Running("storescp", command, directory / "log", NO_DELAY if no_delay else {})
        self.running.wait_for_port(self.dicom_port)

    def __enter__(self) -> Storescp:
        return self

    def __exit__(self, *_: object) -> None:
        self.running.stop()


def storescu(
    port: int,
    directories: Sequence[Path],
    called_ae: str,
    *,
    no_delay: bool,
    options: Sequence[str] = (),
    network: Network = LOOPBACK,
) -> float:
    """Seconds until all of them, one dcmtk sender for each directory at once, have sent their files.

    Each is `storescu +sd`, at a modality of its own: its start and its look through the directory count. Exits when
    one of them fails.
    """
    environment = {**os.environ, **(NO_DELAY if no_delay else {})}
    called = ["--aetitle", CALLING_AE, "--call", called_ae, *options]
    start = time.perf_counter()
    senders = [
        subprocess.Popen(
            [*network.at(number), program("storescu"), *called, network.address, str(port), "+sd", directory],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
        )
        for number, directory in enumerate(directories)
    ]
    outputs = [sender.communicate()[0].decode("utf-8", "replace") for sender in senders]
    seconds = time.perf_counter() - start
    for sender, output in zip(senders, outputs, strict=True):
        if sender.returncode or "E: " in output or "W: DIMSE" in output:
            raise SystemExit(f"storescu ended with {sender.returncode}:\n{output[-2000:]}")
    return seconds
