"""Hostile and broken objects go through the whole product: none gets out of its place, stops a process or a neighbour.

Every object is either refused to the modality, or kept exactly and brought to the hub, or shown to a person.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import canary, data
from support.mini_system import MiniSystem
from support.mutate import mutate
from support.processes import wait_for
from support.safekeeping import Held, hub_problems, unit_problems
from support.tiny_instances import SECONDARY_CAPTURE, TinyInstance, element, make
from support.tiny_scu import IMPLICIT_LITTLE, TinyScu

from appliance.part10.meta import read_prefix

ROOMS = ("receive", "compress", "forward", "hub")
PLACES = re.compile(
    r"unit/(appliance\.db(-wal|-shm)?|spool/receive\.lock|spool/incoming/[0-9a-f]{32}\.part"
    r"|spool/[0-9a-f]{2}/[0-9a-f]{32}\.dcm|parcels/compress\.lock|parcels/[0-9a-f]{32}\.(part|parcel))"
    r"|hub/(hub\.db(-wal|-shm)?|hub\.lock|uploads/[0-9a-f]{32}|refused/[0-9a-f]{32}"
    r"|archive/[0-9a-f]{2}/[0-9a-f]{32}/[0-9]{6}\.(dcm|recipe|header))"
    r"|logs/[\w.-]+|secret|hub\.toml|unit\.toml"
)
HOSTILE_TEXTS = (
    "../../../../etc/passwd",
    "..\\..\\windows",
    "/etc/shadow",
    "$(touch pwned)",
    "`touch pwned`",
    "; touch pwned #",
    "| touch pwned",
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "{{7*7}}{% raw %}",
    "'; DROP TABLE instance; --",
    "%s%n%x",
    "a\0b",
    "\x1b]0;pwned\a\x1b[2J",
    "\r\nSet-Cookie: a=b",
    "\u202egpj.exe",
    "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"),
    "x" * 10_000,
    "",
    ".",
    "..",
    "-rf",
    "CON",
)


@pytest.fixture
def system(tmp_path: Path) -> Iterator[MiniSystem]:
    limits = {"compress__parcel_instances": 64, "compress__cpu_seconds": 10.0, "compress__wall_seconds": 20.0}
    with MiniSystem(tmp_path / "place", rooms=ROOMS, **limits) as made:
        made.start(*ROOMS)
        made.await_listeners()
        yield made


class Sender:
    """Sends one object in an association of its own, and remembers what was acknowledged."""

    def __init__(self, system: MiniSystem) -> None:
        self._port = system.dicom_port
        self.acknowledged: set[Held] = set()
        self.refused = 0

    def send(self, instance: TinyInstance, calling: bytes = b"TEST") -> int | None:
        """The status; None when the receiver ended the association."""
        context = (instance.sop_class_uid, instance.transfer_syntax_uid)
        with (
            contextlib.suppress(ConnectionError),
            TinyScu(self._port, contexts=[context], calling=calling) as scu,
        ):
            status = scu.store(instance)
            if status == 0x0000:
                self.acknowledged.add((instance.sop_instance_uid, instance.digest))
            else:
                self.refused += 1
            return status
        self.refused += 1
        return None


def check_all_is_well(system: MiniSystem, sender: Sender, tmp_path: Path) -> None:
    """Everything acknowledged is at the hub or before a person; the neighbour's study went; nothing is out of place."""
    neighbour = [make(7, number, space="77") for number in range(5)]
    assert [sender.send(instance) for instance in neighbour] == [0] * 5
    query = "SELECT count(*) FROM instance WHERE state NOT IN ('delivered', 'quarantined')"
    wait_for(lambda: system.rows(query)[0][0] == 0, "everything is delivered or before a person", 150.0)
    delivered = system.rows("SELECT sop_instance_uid, digest FROM instance WHERE state = 'delivered'")
    at_hub = {(row["sop_instance_uid"], row["digest"].hex()) for row in delivered}
    assert {(one.sop_instance_uid, one.digest) for one in neighbour} <= at_hub
    assert unit_problems(system.unit_data, sender.acknowledged) == []
    assert hub_problems(system.hub_data, at_hub) == []
    assert system.rows("SELECT count(*) FROM instance WHERE state = 'quarantined' AND reason = ''")[0][0] == 0
    assert system.ended() == []
    assert system.log_problems() == []
    assert out_of_place(tmp_path) == []


def out_of_place(tmp_path: Path) -> list[str]:
    """Every file that is not where, and named as, the product puts its own."""
    found = [path for path in tmp_path.rglob("*") if path.is_file() or path.is_symlink()]
    names = [str(path.relative_to(tmp_path / "place")) if "place" in path.parts else str(path) for path in found]
    return [name for name in names if not PLACES.fullmatch(name)]


@pytest.mark.timeout(300)
def test_no_text_of_a_peer_becomes_a_path_a_command_or_a_column(system: MiniSystem, tmp_path: Path) -> None:
    sender = Sender(system)
    for number, text in enumerate(HOSTILE_TEXTS):
        sender.send(make(number, 1, space="74", name=text))
        for place in ("study_uid", "series_uid", "instance_uid"):
            sender.send(make(number, 2, space="74", **{place: text}))
        with contextlib.suppress(ConnectionError):
            sender.send(make(number, 3, space="74"), calling=text.encode("utf-8", "replace")[:16])
    names = system.rows("SELECT count(*) FROM study WHERE patient_name <> ''")[0][0]
    assert names > 10
    assert sender.refused > 30
    check_all_is_well(system, sender, tmp_path)
    assert not list(Path.cwd().glob("pwned*"))
    look_at_everything(system, tmp_path / "exported")


def look_at_everything(system: MiniSystem, target: Path) -> None:
    """Every verb that shows or writes out what came: no terminal is steered, no file lands elsewhere."""
    ask(system.unit_config, "status")
    ask(system.hub_config, "hub", "list")
    for number, row in enumerate(system.hub_rows("SELECT study_instance_uid, instances FROM study LIMIT 4")):
        ask(system.hub_config, "hub", "show", row[0])
        ask(system.hub_config, "hub", "export", row[0], str(target / str(number)))
        assert len(list((target / str(number)).rglob("*.dcm"))) == row[1]
    names = {str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()}
    assert all(re.fullmatch(r"[0-9]+/series-[0-9]+/[0-9]+\.dcm", name) for name in names), names


def ask(config: Path, *verb: str) -> None:
    command = [sys.executable, "-m", "appliance.cli", "--config", str(config), *verb]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    found = subprocess.run(command, check=False, capture_output=True, env=environment, timeout=60)
    said = found.stdout + found.stderr
    assert found.returncode in {0, 1}, said.decode(errors="replace")
    assert b"Traceback" not in said
    assert not re.search(rb"[\x00-\x08\x0b-\x1f\x7f]", said), said


def deep() -> bytes:
    """Sequences in sequences, 5,000 deep."""
    begin = struct.pack("<HH2sHL", 0x0008, 0x1140, b"SQ", 0, 0xFFFFFFFF) + struct.pack(
        "<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF
    )
    return begin * 5000


def awkward() -> Iterator[TinyInstance]:
    """Objects that are well identified, and wrong in one way each."""
    plain = make(1, 1, space="75").data
    pixels = plain.index(struct.pack("<HH", 0x7FE0, 0x0010))
    head, tail = plain[:pixels], plain[pixels:]
    rows, columns = element(0x00280010, "US", b"\x08\0"), element(0x00280011, "US", b"\x08\0")
    huge = head.replace(rows, element(0x00280010, "US", b"\xff\xff"))
    variants = {
        "deep sequences": head + deep() + tail,
        "65535 by 65535": huge.replace(columns, element(0x00280011, "US", b"\xff\xff")) + tail,
        "no rows": head.replace(rows, b"") + tail,
        "bits 255": head.replace(element(0x00280100, "US", b"\x10\0"), element(0x00280100, "US", b"\xff\0")) + tail,
        "no such character set": plain.replace(b"ISO_IR 192", b"ISO_IR 999"),
        "undefined length": head + struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"OW", 0, 0xFFFFFFFF) + tail[12:],
        "empty pixels": head + element(0x7FE00010, "OW", b""),
        "a length past the end": head + struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"OW", 0, 0x7FFFFFF0) + tail[12:],
        "cut in the middle": plain[: len(plain) - 60],
        "only a name": element(0x00100010, "PN", canary.NAME),
        "nothing": b"",
        "not DICOM": b"GIF89a" + bytes(500),
        "frames": head.replace(element(0x00280010, "US", b"\x08\0"), element(0x00280008, "IS", "99999999") + rows)
        + tail,
        "pixels that are not there": head,
        "implicit as explicit": struct.pack("<HHL", 8, 0x18, 4) + b"1.2\0" + plain,
    }
    for number, content in enumerate(variants.values()):
        uid = f"2.25.75.1.1.{number + 10}"
        yield TinyInstance(
            uid, content.replace(element(0x00080018, "UI", "2.25.75.1.1.1"), element(0x00080018, "UI", uid))
        )
    yield TinyInstance("2.25.75.1.1.1", plain, transfer_syntax_uid=IMPLICIT_LITTLE)
    yield TinyInstance("2.25.75.1.1.1", plain, sop_class_uid=SECONDARY_CAPTURE + ".1")


@pytest.mark.timeout(400)
def test_broken_objects_reach_the_hub_exactly_or_a_person_and_stop_nobody(system: MiniSystem, tmp_path: Path) -> None:
    sender = Sender(system)
    for instance in awkward():
        sender.send(instance)
    files = [path for path in data.dicom_files() if path.stat().st_size < 64 << 10]
    for seed in range(60):
        draw = random.Random(seed)
        with draw.choice(files).open("rb") as file:
            meta, start = read_prefix(file)
            file.seek(start)
            content = file.read()
        sender.send(
            TinyInstance(meta.sop_instance_uid, _later(content, draw), meta.sop_class_uid, meta.transfer_syntax_uid)
        )
    assert len(sender.acknowledged) > 20
    assert sender.refused > 3
    check_all_is_well(system, sender, tmp_path)


def _later(content: bytes, draw: random.Random) -> bytes:
    """Damaged behind the identifiers, so that it is mostly accepted and the codecs meet the damage."""
    at = len(content) // 3
    return content[:at] + mutate(content[at:], draw)
