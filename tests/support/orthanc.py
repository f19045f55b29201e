"""A real Orthanc on loopback: as a sender (its own C-STORE), a receiver, or a peer with DICOMweb."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.processes import free_port, listens, wait_for

_PLUGINS = Path("/usr/share/orthanc/plugins")


@dataclass(frozen=True)
class Orthanc:
    """A running one."""

    ae_title: str
    dicom_port: int
    http_port: int

    def ask(self, path: str, body: bytes | None = None) -> Any:
        """GET, or POST when there is a body; the answer's JSON. Raises urllib.error.HTTPError."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.http_port}{path}", data=body)
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.loads(answer.read())

    def upload(self, file: Path) -> str:
        """Puts a Part 10 file into it; returns its own id of the instance."""
        return str(self.ask("/instances", file.read_bytes())["ID"])

    def store(self, modality: str, ids: Sequence[str]) -> dict[str, Any]:
        """Its C-STORE of these instances to one of its modalities."""
        answer: dict[str, Any] = self.ask(f"/modalities/{modality}/store", json.dumps(list(ids)).encode())
        return answer


@contextlib.contextmanager
def orthanc(
    directory: Path,
    *,
    ae_title: str = "ORTHANC",
    modalities: Mapping[str, tuple[str, int]] | None = None,
    dicomweb: bool = False,
    **settings: Any,
) -> Iterator[Orthanc]:
    """Starts one that keeps its files in `directory`. `modalities`: name → (AE title, port on loopback)."""
    program = shutil.which("Orthanc") or "/usr/sbin/Orthanc"
    ports = free_port(), free_port()
    directory.mkdir(parents=True, exist_ok=True)
    values = {
        "Name": ae_title,
        "StorageDirectory": str(directory / "storage"),
        "IndexDirectory": str(directory / "storage"),
        "DicomAet": ae_title,
        "DicomPort": ports[0],
        "HttpPort": ports[1],
        "RemoteAccessAllowed": False,
        "DicomAlwaysAllowStore": True,
        "DicomModalities": {n: [title, "127.0.0.1", port] for n, (title, port) in (modalities or {}).items()},
        "Plugins": [str(_PLUGINS / "libOrthancDicomWeb.so")] if dicomweb else [],
        **settings,
    }
    (directory / "orthanc.json").write_text(json.dumps(values))
    with (directory / "orthanc.log").open("wb") as log:
        process = subprocess.Popen([program, str(directory / "orthanc.json")], stdout=log, stderr=log)
        try:
            wait_for(lambda: listens(ports[1]) and listens(ports[0]), "Orthanc listens", 60)
            yield Orthanc(ae_title, *ports)
        finally:
            process.terminate()
            process.wait(30)
