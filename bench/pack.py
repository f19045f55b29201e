"""Bytes on the wire of whole series and of radiographs, and how fast one core packs them.

Each series goes through a unit and a hub of its own. Ours are the sizes of the parcels that the unit built while the
modality sent, the hub's dictionaries not yet there (the line was down until all was packed); then the line comes up
and every byte that the unit puts on TCP is counted too. Against it:

- deflate: zlib, level 6, of each file by itself; the sum.
- J2K files: each file made JPEG 2000 lossless by pydicom with pylibjpeg-openjpeg; what a PACS would send. A file
  that is compressed already, or can't be, counts as it is.
- Orthanc gzip: Orthanc stores to an Orthanc peer with `Compress`, its gzip transfer; every byte it puts on TCP.

Headers are all of a parcel that is not pixel blocks; beside them, deflate of the same headers, file by file.
Packing speed is data set bytes a second of one worker on one core: encode, decode again, compare, write, fsync.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import sys
import time
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from io import BytesIO
from pathlib import Path

from harness import peers
from harness.ours import UNIT_AE, Hub, Unit
from harness.report import Goal, Report, Table, arguments, median, publish, scratch, spread
from harness.wire import CountingRelay
from pydicom import dcmread
from pydicom.uid import JPEG2000, JPEG2000Lossless
from support import data

from appliance.compress.parcel import PREAMBLE_BYTES, read_preamble
from appliance.compress.pool import WorkerPool
from appliance.compress.values import ParcelContext, Source
from appliance.config import Compress
from appliance.model.priority import Priority
from appliance.part10.elements import find_pixel_data
from appliance.part10.identity import read_identity
from appliance.part10.meta import read_prefix
from appliance.part10.transfer_syntax import encoding_of

RADIOGRAPHS = tuple(f"RG{number}_{form}" for form in ("UNCR", "UNCI", "J2KR", "J2KI") for number in (1, 3))
PROPOSED = {JPEG2000: "--propose-j2k-lossy"}  # to dcmtk, which proposes one compressed encoding; else the lossless one
DIFFUSION = ("mr-dti-philips-408", "mr-dwi-siemens-100")
HEADER_SHARE = 0.03


@dataclass(frozen=True)
class Ours:
    """What one run through a unit came to. Which instances share a parcel depends on when they came."""

    parcels: int
    bytes: int  # of all parcels, whole
    headers: int  # of these, what is not pixel blocks
    wire: int  # all bytes that forward put on TCP


@dataclass
class Sizes:
    """Bytes of one series by each way, and what our runs came to."""

    files: int
    raw: int
    deflate: int = 0
    j2k: int = 0
    orthanc: int = 0
    headers_deflate: int = 0
    runs: list[Ours] = field(default_factory=list)
    speeds: list[float] = field(default_factory=list)  # bytes a second

    def ours(self, what: str) -> int:
        """The median of the runs of one field of `Ours`."""
        return round(median([getattr(run, what) for run in self.runs]))


def sources(limit: int) -> dict[str, list[Path]]:
    """Every shared series and radiograph by name; of a series at most `limit` files."""
    series = {name: list(data.series(name))[:limit] for name in data.SERIES}
    return series | {name: [data.file(f"{name}.dcm")] for name in RADIOGRAPHS}


def by_others(files: Sequence[Path], directory: Path) -> Sizes:
    """What the peers need for these files."""
    raw = [file.read_bytes() for file in files]
    sizes = Sizes(len(raw), sum(map(len, raw)))
    sizes.deflate = sum(len(zlib.compress(content, 6)) for content in raw)
    sizes.headers_deflate = sum(len(zlib.compress(_header(content), 6)) for content in raw)
    sizes.j2k = sum(_j2k_bytes(content) for content in raw)
    sizes.orthanc = _orthanc_bytes(raw, directory)
    return sizes


def _header(content: bytes) -> bytes:
    """The data set without the value of its pixel data."""
    stream = BytesIO(content)
    meta, offset = read_prefix(stream)
    stream.seek(offset)
    pixels = find_pixel_data(stream, encoding_of(meta.transfer_syntax_uid), len(content) - offset)
    if pixels is None:
        return content[offset:]
    return content[offset : offset + pixels.value_offset] + content[offset + pixels.value_end :]


def _j2k_bytes(content: bytes) -> int:
    """Size of the Part 10 file as pydicom writes it after `compress` to JPEG 2000 lossless."""
    image = dcmread(BytesIO(content))
    if image.file_meta.TransferSyntaxUID.is_compressed:
        return len(content)
    image.compress(JPEG2000Lossless, encoding_plugin="pylibjpeg", generate_instance_uid=False)
    written = BytesIO()
    image.save_as(written, enforce_file_format=True)
    return min(len(content), len(written.getvalue()))


def _orthanc_bytes(contents: Sequence[bytes], directory: Path) -> int:
    """What one Orthanc sends to another with `Compress`, HTTP headers included."""
    with (
        peers.Orthanc(directory / "orthanc-b") as receiver,
        CountingRelay(receiver.http_port) as relay,
        peers.Orthanc(directory / "orthanc-a", peers={"b": f"http://127.0.0.1:{relay.port}/"}) as sender,
    ):
        stored = [sender.call("/instances", content)["ID"] for content in contents]
        sender.call("/peers/b/store", {"Resources": stored, "Compress": True, "Synchronous": True})
        if len(receiver.call("/instances")) != len(set(stored)):
            raise SystemExit("Orthanc's peer did not get all instances")
        return relay.sent


def by_us(files: Sequence[Path], directory: Path) -> Ours:
    """Sends the files to a unit, lets it pack them with the line down, then lets them go to the hub."""
    outbox = directory / "outbox"
    outbox.mkdir(parents=True)
    for file in files:
        (outbox / file.name).symlink_to(file)
    with Hub(directory / "hub") as hub, CountingRelay(hub.port) as relay:
        hub.port = relay.port  # the unit's configuration names the relay
        with Unit(directory / "unit", hub).start("receive", "compress") as unit:
            proposed = PROPOSED.get(dcmread(files[0]).file_meta.TransferSyntaxUID, "--propose-j2k-lossless")
            peers.storescu(unit.dicom_port, [outbox], UNIT_AE, no_delay=True, options=[proposed])
            _wait(unit, "SELECT sum(packed) FROM study", len(files))
            parcels = [file.read_bytes() for file in sorted((unit.data / "parcels").glob("*.parcel"))]
            unit.start("forward")
            _wait(unit, "SELECT sum(delivered) FROM study", len(files))
        wire = relay.sent
    size = sum(map(len, parcels))
    blocks = sum(read_preamble(parcel[:PREAMBLE_BYTES], len(parcel)).blocks for parcel in parcels)
    return Ours(len(parcels), size, size - blocks, wire)


def _wait(unit: Unit, query: str, count: int, seconds: float = 300.0) -> None:
    limit = time.monotonic() + seconds
    while (now := unit.count(query)) < count:
        if time.monotonic() > limit:
            raise SystemExit(f"{query}: {now} of {count}; see {unit.directory}/*.log")
        time.sleep(0.1)


def speeds(files: Sequence[Path], directory: Path, repeat: int) -> list[float]:
    """Data set bytes packed a second, by one worker with all its processes on one core; of each run."""
    directory.mkdir(parents=True, exist_ok=True)
    received = [_source(file) for file in files]
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})  # what the pool starts keeps to it too
    try:
        with WorkerPool(Compress()) as pool:
            _pack_all(pool, received[:1], directory)  # starts the worker
            return [_pack_all(pool, received, directory) for _ in range(repeat)]
    finally:
        os.sched_setaffinity(0, cores)


def _source(file: Path) -> Source:
    """A file as the spool has it."""
    with file.open("rb") as stream:
        meta, offset = read_prefix(stream)
        stream.seek(offset)
        data_set = stream.read()
        identity = read_identity(BytesIO(data_set), meta.transfer_syntax_uid, len(data_set))
    return Source(
        path=file,
        data_offset=offset,
        bytes=len(data_set),
        digest=hashlib.sha256(data_set).digest(),
        transfer_syntax_uid=meta.transfer_syntax_uid,
        sop_class_uid=identity.sop_class_uid,
        sop_instance_uid=identity.sop_instance_uid,
        received_at=0,
        calling_ae=peers.CALLING_AE,
    )


def _pack_all(pool: WorkerPool, received: Sequence[Source], directory: Path) -> float:
    """Bytes a second for one pass over all of them, parcel after parcel."""
    context = ParcelContext(study_instance_uid="1.2.3", site="bench", priority=Priority.ROUTINE)
    start, done = time.perf_counter(), 0
    while done < len(received):
        done += pool.pack(received[done:], context, None, directory / "bench.parcel").instances
    return sum(source.bytes for source in received) / (time.perf_counter() - start)


def report(found: dict[str, Sizes]) -> Report:
    """Tables and goals from the sizes of every series."""
    made = Report("pack", "Bytes on the wire: parcels against what others send")
    made.machine += ", " + peers.versions()
    made.tables += [_sizes_table(found), _headers_table(found), _speed_table(found)]
    for name in [name for name in DIFFUSION if name in found]:
        share = found[name].ours("headers") / found[name].headers_deflate
        sentence = f"headers of {name} under 3 % of what deflate makes of them"
        made.goals.append(Goal(sentence, f"{100 * share:.2f} %", share < HEADER_SHARE))
    for other in ("deflate", "j2k", "orthanc"):
        worse = [name for name, sizes in found.items() if sizes.ours("bytes") >= getattr(sizes, other)]
        total, ours = sum(getattr(s, other) for s in found.values()), sum(s.ours("bytes") for s in found.values())
        made.goals.append(
            Goal(f"fewer bytes than {other} for every one of them", f"{total / ours:.2f}× fewer in all"
                 + (f"; not for {', '.join(worse)}" if worse else ""), not worse)
        )  # fmt: skip
    made.figures = {"series": {name: asdict(sizes) for name, sizes in found.items()}}
    return made


def _sizes_table(found: dict[str, Sizes]) -> Table:
    columns = ("MB", "files", "as sent", "deflate", "J2K files", "Orthanc gzip", "parcels", "on TCP", "ratio", "vs J2K")
    table = Table("Bytes on the wire, MB (10⁶)", columns)
    for name, s in found.items():
        packed = s.ours("bytes")
        sizes = (s.raw, s.deflate, s.j2k, s.orthanc, packed, s.ours("wire"))
        table.rows.append((name, str(s.files), *map(_mb, sizes), f"{s.raw / packed:.2f}", f"{s.j2k / packed:.2f}×"))
    table.note = (
        "as sent: the files. parcels: ours, whole, packed with the line down; medians of the runs. on TCP: every byte"
        " that forward then put on TCP for them, HTTP included. ratio: as sent ÷ parcels. Orthanc gzip: on TCP, HTTP"
        " included. What the others need is the same in every run."
    )
    return table


def _headers_table(found: dict[str, Sizes]) -> Table:
    table = Table(
        "Headers: all of the parcels but pixel blocks, bytes",
        ("series", "parcels", "bytes", "an instance", "deflate", "share", "range"),
    )
    for name, s in found.items():
        headers = s.ours("headers")
        numbers = (s.ours("parcels"), headers, headers // s.files, s.headers_deflate)
        shares = [100 * run.headers / s.headers_deflate for run in s.runs]
        table.rows.append((name, *map("{:,}".format, numbers), f"{median(shares):.2f} %", spread(shares)))
    return table


def _speed_table(found: dict[str, Sizes]) -> Table:
    table = Table("Packing speed of one core: encode, decode again, compare, fsync", ("series", "MB/s", "range"))
    for name, s in found.items():
        rates = [speed / 1e6 for speed in s.speeds]
        table.rows.append((name, f"{median(rates):.1f}", spread(rates, ".1f")))
    table.note = "Medians of the runs; MB (10⁶) of data set bytes."
    return table


def _mb(count: int) -> str:
    return f"{count / 1e6:.2f}" if count >= 1e6 else f"{count / 1e6:.3f}"


def main(options: argparse.Namespace) -> None:
    """Runs it all and prints."""
    directory = scratch(options.directory) / "pack-run"
    found: dict[str, Sizes] = {}
    for name, files in sources(options.limit).items():
        if options.only and name not in options.only:
            continue
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir()
        found[name] = by_others(files, directory)
        for run in range(options.repeat):
            found[name].runs.append(by_us(files, directory / f"run-{run}"))
        found[name].speeds = speeds(files, directory / "speed", options.repeat)
    shutil.rmtree(directory, ignore_errors=True)
    publish(report(found), options)


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--limit", type=int, default=10_000, metavar="N", help="at most N files of a series")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="only these series or radiographs")
    sys.exit(main(parser.parse_args()))
