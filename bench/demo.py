"""`./dev demo`: a hub and a unit on this machine, real images sent through, and a table of what became of each.

Everything in it is what a hospital would run: the two configuration files come from `appliance init`, the processes
are `appliance hub` and `appliance run`, the modality is `appliance send` (pynetdicom's C-STORE). A line of the table
says *verified* only when two things agree with the file that was sent: the hub's receipt, and the SHA-256 of what
`appliance hub export` gives back, computed here with pydicom, which is none of our code.

Everything is kept in a temporary directory, which goes when the demo ends.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import pydicom
from demo_files import FILES, what_it_is
from pydicom.filereader import _read_file_meta_info, read_preamble
from support import data

from appliance.cli import cli
from appliance.store_forward.database import open_database
from appliance.terminal import bar, size, table

SITE = "demo"
START_SECONDS = 60
DELIVERY_SECONDS = 300
WIDTH = 78


class DemoError(Exception):
    """The demo can't go on; the message says why."""


@dataclass(frozen=True)
class Sent:
    """One file as it was given to the modality. `digest`: SHA-256 of its data set bytes."""

    path: Path
    study: str
    uid: str
    bytes: int
    digest: str


@dataclass(frozen=True)
class Delivered:
    """What the unit's queue says of an instance. `wire`: its share of its parcel, by data set bytes."""

    digest: str
    seconds: float
    wire: float
    receipt: bool


def look_at(path: Path) -> Sent:
    """What is in a Part 10 file, read by pydicom."""
    header = pydicom.dcmread(path, stop_before_pixels=True)
    content = data_set_bytes(path)
    return Sent(path, header.StudyInstanceUID, header.SOPInstanceUID, len(content), hashlib.sha256(content).hexdigest())


def data_set_bytes(path: Path) -> bytes:
    """What follows the file meta information (PS3.10 7.1)."""
    with path.open("rb") as file:
        read_preamble(file, force=False)
        _read_file_meta_info(file)
        return file.read()


class Demo:
    """The two boxes of the demo in one directory: their files, their processes."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.hub_port, self.dicom_port, self.page_port = (free_port(port) for port in (8090, 11112, 8080))
        self.pin = ""
        self._processes: list[subprocess.Popen[bytes]] = []

    @property
    def hub_file(self) -> Path:
        return self.directory / "hub.toml"

    @property
    def unit_file(self) -> Path:
        return self.directory / "unit.toml"

    @property
    def page(self) -> str:
        return f"http://127.0.0.1:{self.page_port}/"

    def provision(self) -> None:
        """As a field engineer would: two files, a site with its secret, a modality, a login."""
        secret = self.directory / "hub.secret"
        workers = os.cpu_count() or 1
        hub = {"hub.name": "Demo hub", "hub.port": self.hub_port, "hub.reserve_bytes": 256 << 20}
        hub |= {"compress.workers": workers}
        appliance("init", self.hub_file, "--role", "hub", "--data", self.directory / "hub", *settings(hub))
        appliance("--config", self.hub_file, "hub", "site", "add", SITE, "--secret-file", secret)
        unit = {"site.name": "Demo hospital", "hub.url": f"http://127.0.0.1:{self.hub_port}", "hub.secret_file": secret}
        unit |= {"dicom.port": self.dicom_port, "web.port": self.page_port, "study.settle_seconds": 5}
        unit |= {"storage.reserve_bytes": 256 << 20, "compress.workers": workers}
        appliance("init", self.unit_file, "--data", self.directory / "unit", "--site-id", SITE, *settings(unit))
        modality = '\n[[dicom.modalities]]\nname = "Demo scanner"\nae_title = "DEMO"\nnetwork = "127.0.0.1"\n'
        self.unit_file.write_text(self.unit_file.read_text("utf-8") + modality, "utf-8")
        told = appliance("--config", self.unit_file, "user", "add", "demo", "--role", "engineer", "--json")
        self.pin = json.loads(told)["pin"]

    def start(self) -> None:
        """Starts hub and unit, and waits until both answer. What they say goes to their logs."""
        for name, words in (("hub", ["--config", self.hub_file, "hub"]), ("unit", ["--config", self.unit_file, "run"])):
            with (self.directory / f"{name}.log").open("wb") as log:
                command = [sys.executable, "-m", "appliance.cli", *(str(word) for word in words)]
                self._processes.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log))
        deadline = time.monotonic() + START_SECONDS
        while not self._ready():
            if time.monotonic() > deadline or any(process.poll() is not None for process in self._processes):
                raise DemoError(f"hub and unit did not start. {self.last_words()}")
            time.sleep(0.2)

    def _ready(self) -> bool:
        with contextlib.suppress(OSError, urllib.error.URLError):
            urllib.request.urlopen(self.page, timeout=2).close()
            socket.create_connection(("127.0.0.1", self.dicom_port), timeout=2).close()
            facts = json.loads(appliance("--config", self.unit_file, "status", "--json"))
            alive = [process for process in facts["processes"] if process["alive"]]
            return len(alive) == 4 and bool(facts["line"] and facts["line"]["up"])
        return False

    def last_words(self) -> str:
        """The ends of both logs."""
        tails = []
        for name in ("hub", "unit"):
            log = self.directory / f"{name}.log"
            lines = log.read_text("utf-8", "replace").splitlines()[-8:] if log.exists() else []
            tails.append("\n".join([f"The last lines of the {name}:", *lines]))
        return "\n".join(tails)

    def send(self, files: Sequence[Sent]) -> None:
        """Stores the files at the unit, with the progress of `appliance send`."""
        words = ["send", "--port", self.dicom_port, "--calling", "DEMO", *(file.path for file in files)]
        command = [sys.executable, "-m", "appliance.cli", *(str(word) for word in words)]
        done = subprocess.run(command, check=False, timeout=DELIVERY_SECONDS)
        if done.returncode:
            raise DemoError(f"the unit did not take every image. {self.last_words()}")

    def delivered(self) -> dict[str, Delivered]:
        """What the unit's queue says of each instance, by SOP Instance UID."""
        query = """SELECT i.sop_instance_uid AS uid, hex(i.digest) AS digest, i.received_at, i.delivered_at,
            i.hub_held_at, i.state, 1.0 * i.bytes * p.bytes / p.data_bytes AS wire
            FROM instance AS i LEFT JOIN parcel AS p ON p.id = i.parcel_id"""
        connection = open_database(self.directory / "unit", read_only=True)
        rows = connection.execute(query).fetchall()
        connection.close()
        return {
            row["uid"]: Delivered(
                digest=row["digest"].lower(),
                seconds=((row["delivered_at"] or row["received_at"]) - row["received_at"]) / 1000,
                wire=row["wire"] or 0.0,
                receipt=row["state"] == "delivered" and row["hub_held_at"] is not None,
            )
            for row in rows
        }

    def wait_for_receipts(self, files: Sequence[Sent]) -> dict[str, Delivered]:
        """Shows how many receipts came, until all did; raises DemoError when that takes too long."""
        deadline = time.monotonic() + DELIVERY_SECONDS
        shown = -1
        while True:
            found = self.delivered()
            count = sum(file.uid in found and found[file.uid].receipt for file in files)
            if count != shown:
                shown = count
                progress(count, len(files))
            if count == len(files):
                return found
            if time.monotonic() > deadline:
                raise DemoError(f"after {DELIVERY_SECONDS} s the hub had {count} images. {self.last_words()}")
            time.sleep(0.2)

    def exported(self, files: Sequence[Sent]) -> dict[str, str]:
        """SHA-256 of the data set bytes of each instance as the hub gives it out, by SOP Instance UID."""
        digests = {}
        for number, study in enumerate(sorted({file.study for file in files})):
            target = self.directory / "exported" / str(number)
            target.parent.mkdir(exist_ok=True)
            appliance("--config", self.hub_file, "hub", "export", study, target, "--exact", "--json")
            for path in target.rglob("*.dcm"):
                uid = pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID
                digests[uid] = hashlib.sha256(data_set_bytes(path)).hexdigest()
        return digests

    def stop(self) -> None:
        """Ends both, the unit first."""
        for process in reversed(self._processes):
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def free_port(wanted: int) -> int:
    """The documented port, or any free one when that is taken."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise DemoError("no port is free on 127.0.0.1")


def settings(values: dict[str, object]) -> Iterator[str]:
    """`--set KEY=VALUE` for each."""
    for key, value in values.items():
        yield from ("--set", f"{key}={value}")


def appliance(*words: object) -> str:
    """One short verb of the command line, in this process. Returns what it printed; raises DemoError when it failed."""
    said, complained = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(complained):
        code = cli.main([str(word) for word in words], prog_name="appliance", standalone_mode=False)
    if code:
        raise DemoError(f"appliance {' '.join(str(word) for word in words)}: {complained.getvalue()}")
    return said.getvalue()


def progress(count: int, total: int) -> None:
    """On a terminal one line drawn anew; else a line each time."""
    text = f"At the hub {bar(count / total)} {count:3} of {total} verified"
    print(f"\r{text}" if sys.stdout.isatty() else text, end="" if sys.stdout.isatty() else "\n", flush=True)
    if count == total and sys.stdout.isatty():
        print()


def verdict(file: Sent, found: Delivered | None, exported: str | None) -> str:
    """`verified`, or what is wrong with this instance."""
    if found is None or not found.receipt:
        return "NO RECEIPT"
    if found.digest != file.digest:
        return "RECEIVED OTHER BYTES"
    if exported is None:
        return "NOT EXPORTED"
    return "verified" if exported == file.digest else "EXPORTED OTHER BYTES"


def report(files: Sequence[Sent], found: dict[str, Delivered], exported: dict[str, str]) -> bool:
    """Prints the table. Returns whether every line of it says verified."""
    rows, verdicts = [], []
    for file in files:
        said = verdict(file, found.get(file.uid), exported.get(file.uid))
        verdicts.append(said)
        one = found.get(file.uid) or Delivered("", 0.0, 0.0, receipt=False)
        ratio = f"{file.bytes / one.wire:.2f}" if one.wire else "–"
        rows.append(
            [
                what_it_is(file.path),
                size(file.bytes),
                size(one.wire),
                ratio,
                f"{said} {file.digest[:8]}",
                f"{one.seconds:.1f}",
            ]
        )
    total, wire = sum(file.bytes for file in files), sum(one.wire for one in found.values())
    slowest = max((one.seconds for one in found.values()), default=0.0)
    good = all(said == "verified" for said in verdicts)
    count = sum(said == "verified" for said in verdicts)
    rows.append(["in all", size(total), size(wire), f"{total / max(wire, 1):.2f}", f"{count} of {len(files)} verified"])
    rows[-1].append(f"{slowest:.1f}")
    head = ["instance", "bytes in", "on wire", "ratio", "SHA-256", "seconds"]
    print()
    print(table(head, rows, right=frozenset({1, 2, 3, 5})))
    print(
        "\nverified: the hub's receipt, and the SHA-256 of the data set that `appliance hub export` gives\n"
        "back, agree with the file that was sent. On wire: the instance's share of its parcel, by size.\n"
        "Seconds: from the unit's answer to the modality until the hub's receipt."
    )
    return good


def invite(demo: Demo) -> None:
    """What there is to look at, until Ctrl-C."""
    address = click.style(demo.page, bold=True)
    click.echo(f"\nThe radiographer's page: {address}   name: demo   PIN: {click.style(demo.pin, bold=True)}\n")
    print("Try, in another terminal:")
    for line in (
        f"appliance --config {demo.unit_file} status",
        f"appliance --config {demo.unit_file} doctor",
        f"appliance --config {demo.hub_file} hub list",
        f"appliance send --port {demo.dicom_port} --calling DEMO YOUR-DICOM-FILES",
    ):
        print(f"  .venv/bin/{line}")
    print("\nCtrl-C ends it and removes what it kept.", flush=True)


def run(demo: Demo) -> bool:
    """The whole demo. Returns whether every instance was verified."""
    files = [look_at(data.file(name)) for name in FILES]
    demo.provision()
    print(f"Starting a hub and a unit in {demo.directory} …", flush=True)
    demo.start()
    print(f"  hub   http://127.0.0.1:{demo.hub_port}")
    print(f"  unit  DICOM APPLIANCE on 127.0.0.1:{demo.dicom_port}, page {demo.page}")
    total = size(sum(file.bytes for file in files))
    print(f"\nA modality sends {len(files)} real instances, {total}, with C-STORE:", flush=True)
    demo.send(files)
    found = demo.wait_for_receipts(files)
    print("The hub gives each one back, for comparison …", flush=True)
    return report(files, found, demo.exported(files))


def main(arguments: Sequence[str]) -> int:
    """Exit code 0 when every line says verified, else 1."""
    parser = argparse.ArgumentParser(prog="./dev demo", description="A hub and a unit, real images, a table, the page.")
    parser.add_argument("--once", action="store_true", help="end after the table: 0 if all is verified, else 1")
    once = parser.parse_args(arguments).once
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    demo = Demo(Path(tempfile.mkdtemp(prefix="appliance-demo-")))
    good = False
    try:
        good = run(demo)
        if not once:
            invite(demo)
            signal.pause()
    except DemoError as error:
        print(f"demo: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("\nEnding …")
    finally:
        demo.stop()
        shutil.rmtree(demo.directory, ignore_errors=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
