"""Our own processes, each started as the box starts it: `appliance VERB --config FILE`, durable, on a real disk."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from appliance.store_forward.database import FILE_NAME
from harness import CHECKOUT
from harness.lan import LOOPBACK, Network
from harness.namespaces import HERE, Place
from harness.peers import CALLING_AE
from harness.processes import Running, free_port

UNIT_AE = "APPLIANCE"
STAT_AE = "EMERGENCY"  # a modality whose studies are stat
SITE = "bench"


def appliance(*words: str | Path) -> list[str | Path]:
    """The command line of one verb, run by the interpreter that runs this bench, from this checkout."""
    return [sys.executable, "-m", "appliance.cli", *words]


class Hub:
    """A hub of its own below `directory`, with one site."""

    def __init__(self, directory: Path, place: Place = HERE) -> None:
        directory.mkdir(parents=True)
        self.port, self.data, self._address = free_port(), directory / "data", place.address
        self.file, self.secret_file = directory / "hub.toml", directory / "secret"
        self.file.write_text(f'[hub]\ndata = "{self.data}"\nbind = "{place.address}"\nport = {self.port}\n', "utf-8")
        subprocess.run(
            appliance("--config", self.file, "hub", "site", "add", SITE, "--secret-file", self.secret_file),
            check=True,
            capture_output=True,
            cwd=CHECKOUT,
        )
        command = place.command(appliance("--config", self.file, "hub", "run"))
        self.running = Running("hub", command, directory / "log")
        self.running.wait_until(lambda: place.listens(self.port), f"listening on port {self.port}")

    @property
    def url(self) -> str:
        """Where a unit reaches it: at `port`, which a bench may set to that of a relay."""
        return f"http://{self._address}:{self.port}"

    def __enter__(self) -> Hub:
        return self

    def __exit__(self, *_: object) -> None:
        self.running.stop()


class Unit:
    """A unit below `directory`, for the modalities of `network`: its processes are started one by one with `start`."""

    def __init__(
        self, directory: Path, hub: Hub | None = None, network: Network = LOOPBACK, place: Place = HERE
    ) -> None:
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        self.directory, self.data, self.file = directory, directory / "data", directory / "unit.toml"
        self.place = place
        self.dicom_port, self.web_port = free_port(), free_port()
        self.network = network
        self.processes: dict[str, Running] = {}
        self.file.write_text(self._text(hub), "utf-8")

    def _text(self, hub: Hub | None) -> str:
        uplink = f'url = "{hub.url}"\nsecret_file = "{hub.secret_file}"\n' if hub else ""
        uplink += f'interface = "{self.place.interface}"\n' if self.place.interface else ""
        dicom = f'ae_title = "{UNIT_AE}"\nbind = "{self.network.address}"\nport = {self.dicom_port}\n'
        modalities = "".join(
            f'[[dicom.modalities]]\nname = "{title}"\nae_title = "{title}"\nnetwork = "{self.network.modalities}"\n'
            f'priority = "{priority}"\n'
            for title, priority in ((CALLING_AE, "routine"), (STAT_AE, "stat"))
        )
        return (
            f'[site]\nid = "{SITE}"\n[storage]\ndata = "{self.data}"\n'
            f"[dicom]\n{dicom}{modalities}"
            f"[web]\nport = {self.web_port}\n[hub]\n{uplink}"
        )

    def start(self, *verbs: str) -> Unit:
        """Starts `receive`, `compress`, `forward` or `web`; returns when those that listen do."""
        for verb in verbs:
            log = self.directory / f"{verb}.log"
            command = self.place.command(appliance("--config", self.file, verb))
            self.processes[verb] = Running(verb, command, log)
        for verb, port in (("receive", self.dicom_port), ("web", self.web_port)):
            if verb in verbs:
                self.processes[verb].wait_until(partial(self.place.listens, port), f"listening on port {port}")
        return self

    def __enter__(self) -> Unit:
        return self

    def __exit__(self, *_: object) -> None:
        for running in self.processes.values():
            running.stop()

    def read(self, query: str, values: Sequence[object] = ()) -> list[tuple[object, ...]]:
        """Rows of the unit's database, read-only; none while it has no tables."""
        try:
            connection = sqlite3.connect(f"file:{self.data / FILE_NAME}?mode=ro", uri=True)
        except sqlite3.OperationalError:
            return []
        try:
            return connection.execute(query, tuple(values)).fetchall()
        except sqlite3.OperationalError:
            return []
        finally:
            connection.close()

    def count(self, query: str) -> int:
        """The number that a query of one row and column gives; 0 while there is none."""
        rows = self.read(query)
        return int(str(rows[0][0] or 0)) if rows else 0
