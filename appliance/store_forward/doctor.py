"""What is wrong with this unit, since when, and what to do: the list that `appliance doctor` and the page show.

Each check is a function of facts that were read before; `examine` reads them. A check never raises: what it can't
read is itself the finding. Nothing here holds patient data.
"""

from __future__ import annotations

import os
import sqlite3
import ssl
import subprocess
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec

from appliance.config import GIB, Dicom, UnitConfig, load_unit, read_secret
from appliance.errors import (
    ConfigError,
    DatabaseError,
    HubBusyError,
    HubFaultError,
    HubRefusedError,
    UnreadableFileError,
    error_of,
)
from appliance.link.allowance import Hold, Reason, never
from appliance.model.help import CLOCK_EARLIEST_MS, CLOCK_OFF_MS, COURIER_MS, DATABASE_ROOM, LINE_LONG_DOWN_MS
from appliance.model.priority import Priority
from appliance.model.tunnel import TunnelFacts
from appliance.store_forward.certificates import expiry
from appliance.store_forward.courier_queue import said_key
from appliance.store_forward.database import FILE_NAME, open_database
from appliance.store_forward.link_use import LinkUse, hold_words, read_use, rules_in
from appliance.store_forward.status import (
    Disk,
    Line,
    Process,
    Status,
    newest_files,
    processes_of,
    read_disk,
    read_status,
)
from appliance.store_forward.tunnel_told import tell
from appliance.terminal import size, span

DAY_MS = 86_400_000
CERTIFICATE_WARNING_MS = 30 * DAY_MS
SHORTEST_PREFIX = 132  # bytes of a spool file before its data set, at least


class Level(StrEnum):
    OK = "ok"
    WARNING = "warning"  # works; somebody should look
    FAILING = "failing"  # something a person waits for does not work


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One finding. `since`: Unix ms from when it has been so, when that is known. `todo` is empty when it is ok."""

    name: str
    level: Level
    said: str
    since: int | None = None
    todo: str = ""


def _ok(name: str, said: str, since: int | None = None) -> Check:
    return Check(name=name, level=Level.OK, said=said, since=since)


def _warning(name: str, said: str, todo: str, since: int | None = None) -> Check:
    return Check(name=name, level=Level.WARNING, said=said, since=since, todo=todo)


def _failing(name: str, said: str, todo: str, since: int | None = None) -> Check:
    return Check(name=name, level=Level.FAILING, said=said, since=since, todo=todo)


def exit_code(checks: Sequence[Check]) -> int:
    """0 when all is ok, 1 with a warning, 2 when something fails."""
    worst = {check.level for check in checks}
    return 2 if Level.FAILING in worst else int(Level.WARNING in worst)


def examine(config_path: Path, now: int) -> list[Check]:
    """Every check of this unit at `now` (Unix ms). The first that makes the others meaningless ends the list."""
    try:
        config = load_unit(config_path)
    except ConfigError as error:
        return [_failing("configuration", error.message, error.hint)]
    checks = [_ok("configuration", f"{config_path} is sound"), check_data(config.data)]
    checks += [check_secret(config), check_certificate(config.dicom, now), check_sandbox(_try_sandbox())]
    if not config.data.is_dir():
        return checks
    if not (config.data / FILE_NAME).exists():
        todo = "Start it: `appliance run`, or on the box `systemctl start appliance`."
        return [*checks, _warning("database", "there is none yet: this unit has not run", todo)]
    return checks + _examine_queue(config, now)


def _examine_queue(config: UnitConfig, now: int) -> list[Check]:
    try:
        status = read_status(config, now)
        connection = open_database(config.data, read_only=True)
    except (DatabaseError, sqlite3.Error) as error:
        disk = read_disk(config.data, config.storage.reserve_bytes)
        return [_failing("database", f"it can't be read: {error}", DatabaseError.hint), check_disk(disk)]
    rules = rules_in(config)
    try:
        use = check_use(read_use(connection, config, rules, now), never(rules), now, rules.zone)
        checks = [check_database(connection), check_spool(config.data, newest_files(connection))]
        checks.append(check_courier(config.courier.hub_key, said_key(connection)))
    except sqlite3.Error as error:
        return [_failing("database", f"it can't be read: {error}", DatabaseError.hint), check_disk(status.disk)]
    finally:
        connection.close()
    names = processes_of(config)
    checks += [check_disk(status.disk), *check_processes(names, status.processes, status.disk, now)]
    if status.tunnel is not None:
        checks += [check_tunnel(status.tunnel, config, now), check_time_server(status.tunnel, status.line)]
    checks += [check_line(status.line, now), use, check_clock(status.line, now)]
    return [*checks, check_parcels(status), check_devices(config.dicom, status), check_studies(status)]


def check_courier(pinned: str, said: str) -> Check:
    """Sticks are written for the right hub. `pinned`: [courier] hub_key; `said`: what the hub says over the line."""
    if not pinned:
        return _ok("courier", "no stick is written: [courier] hub_key is not set")
    if said not in {"", pinned}:
        todo = "Ask the hub which is right (`appliance hub courier key`), and put that one into [courier] hub_key."
        return _warning("courier", f"the hub says that its key is {said}, but {pinned} is used", todo)
    return _ok("courier", "courier.hub_key is the hub's" if said else "courier.hub_key is set; the hub said none yet")


def check_data(data: Path) -> Check:
    """The data directory is there, and this user may write to it."""
    if not data.is_dir():
        todo = f"Make it, owned by the user that runs appliance: install -d -m 750 {data}"
        return _failing("data directory", f"{data} is missing", todo)
    if not os.access(data, os.W_OK | os.X_OK):
        todo = f"Run this as the user that owns it (sudo -u), or give it to that user: chown -R USER {data}"
        return _failing("data directory", f"{data} can't be written by this user", todo)
    return _ok("data directory", f"{data} can be written")


def check_secret(config: UnitConfig) -> Check:
    """The secret that the hub gave this site is there and private."""
    try:
        read_secret(config)
    except ConfigError as error:
        return _failing("hub secret", error.message, error.hint)
    return _ok("hub secret", f"{config.hub.secret_file} can be read, and not by everyone")


def check_certificate(dicom: Dicom, now: int) -> Check:
    """The certificate of the DICOM TLS listener can be used, and for how long."""
    if not dicom.tls_port:
        return _ok("TLS certificate", "no TLS listener is configured")
    todo = "Get a new certificate, put it at dicom.tls_certificate, and restart `receive`."
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(dicom.tls_certificate, dicom.tls_key)
        until = expiry(Path(dicom.tls_certificate).read_text("ascii"))
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        return _failing("TLS certificate", f"{dicom.tls_certificate} can't be used: {error}", todo)
    if until <= now:
        return _failing("TLS certificate", f"it expired {span((now - until) / 1000)} ago", todo, since=until)
    left = f"it is good for another {span((until - now) / 1000)}"
    return (
        _warning("TLS certificate", left, todo)
        if until - now < CERTIFICATE_WARNING_MS
        else _ok("TLS certificate", left)
    )


def _try_sandbox() -> str:
    """Enters the sandbox in a throw-away process. Returns why that failed, or an empty string."""
    program = f"import os; from appliance.compress import sandbox; sandbox.enter({GIB}, os.getppid())"
    try:
        tried = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=30, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    said = tried.stderr.decode(errors="replace").strip().splitlines()
    return "" if tried.returncode == 0 else (said[-1] if said else f"exit code {tried.returncode}")


def check_sandbox(problem: str) -> Check:
    """Foreign bytes are decoded where they can do no harm. `problem`: why they can't be, or empty."""
    if problem:
        todo = "Nothing is packed without it. Debian 12 or later, x86-64 or aarch64, package libseccomp2, is needed."
        return _failing("sandbox", f"it can't be made: {problem}", todo)
    return _ok("sandbox", "foreign bytes are decoded without network or files, within limits of time and memory")


def check_database(connection: sqlite3.Connection) -> Check:
    """SQLite's own quick check."""
    found = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
    if found != "ok":
        todo = "Stop the unit, keep a copy of the data directory, and call for help. Modalities keep their studies."
        return _failing("database", f"it is damaged: {found}", todo)
    return _ok("database", "it is whole")


def check_spool(data: Path, files: Sequence[tuple[int, str, int]]) -> Check:
    """The spool files of the newest instances are there and long enough."""
    missing = [number for number, file, size_ in files if _length(data / "spool" / file) < size_ + SHORTEST_PREFIX]
    if missing:
        todo = "Have the disk checked (journalctl -k); send the study of these instances again from the modality."
        said = f"{len(missing)} of the newest {len(files)} files are missing or short (instance {missing[0]})"
        return _failing("spool", said, todo)
    return _ok("spool", f"the newest {len(files)} files are there" if files else "it is empty")


def _length(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def check_disk(disk: Disk) -> Check:
    """Room for more studies."""
    said = f"{size(disk.free)} free of {size(disk.total)}; below {size(disk.reserve)} nothing is accepted"
    todo = (
        "Bring the line up, so that delivered studies can leave; shorten storage.retention_days; or fit a larger disk."
    )
    if disk.free < disk.reserve:
        return _failing("disk", said, todo)
    if disk.free < max(2 * disk.reserve, disk.total // 20):
        return _warning("disk", said, todo)
    return _ok("disk", said)


def check_processes(names: Sequence[str], processes: Sequence[Process], disk: Disk, now: int) -> list[Check]:
    """Each process of `names` beats. On a disk that is full to the last byte none can, and all wait."""
    known = {process.name: process for process in processes}
    todo = "Restart the unit: `systemctl restart appliance`, or `appliance run`. Why it ended: its last log lines."
    if disk.free < DATABASE_ROOM:
        todo = "Make room on the disk: what runs waits for it and goes on by itself, but can't say so. Do not restart."
    return [_check_process(name, known.get(name), now, todo) for name in names]


def _check_process(name: str, process: Process | None, now: int, todo: str) -> Check:
    if process is None:
        return _failing(name, "it has never run here", todo)
    if not process.alive:
        said = f"silent for {span(abs(now - process.beat_at) / 1000)}"
        return _failing(name, said, todo, since=process.beat_at)
    return _ok(name, process.status or "it runs", since=process.started_at)


def check_line(line: Line | None, now: int) -> Check:
    """The hub answers. A line that is down is a warning: sending goes on by itself."""
    if line is None:
        return _warning("line", "the hub was never reached yet", "Check hub.url and the tunnel: `wg show`.")
    problem = error_of(line.problem)
    if problem in {HubRefusedError, HubBusyError, HubFaultError}:  # the line is up, and nothing goes
        return _failing("line", f"{problem.id}: {problem().message}", problem.hint, since=line.since)
    if line.up:
        rate = f", {size(line.bytes_per_second)}/s" if line.bytes_per_second else ""
        said = f"{line.hub or 'the hub'} answers in {line.round_trip_ms:.0f} ms{rate}"
        return _ok("line", said, since=line.since)
    said = f"down for {span((now - line.since) / 1000)}; studies are safe here and go by themselves"
    if now - line.since > LINE_LONG_DOWN_MS:
        todo = "Is the modem or antenna on? Ask the provider; check the tunnel with `wg show`."
        if now - line.since > COURIER_MS:
            todo += " Meanwhile a USB stick can carry the studies: `appliance courier export DIRECTORY`."
        return _failing("line", said, todo, since=line.since)
    return _warning(
        "line", said, "Nothing, unless it should be up: then look at the modem, and `wg show`.", since=line.since
    )


def check_use(use: LinkUse, shut: dict[Priority, Hold], now: int, zone: ZoneInfo) -> Check:
    """Rules and the pause leave something to go. `shut`: what the file never lets go."""
    if shut:
        words = ", ".join(priority.word for priority in sorted(shut))
        todo = "Mend [[link.windows]] or [[link.uplinks]] in the file: no hour or no budget is left for them."
        return _failing("use of the line", f"the rules in the file never let go: {words}", todo)
    hold = use.allowance.hold
    if hold is None:
        return _ok("use of the line", "everything may go")
    said = hold_words(hold, now, zone)
    if hold.reason is Reason.PAUSED:
        since = use.pause.at if use.pause else None
        return _warning("use of the line", said, "When it is no longer wanted: `appliance link resume`.", since=since)
    return _ok("use of the line", said)


def check_clock(line: Line | None, now: int) -> Check:
    """This box's clock against the hub's; a tunnel can't be opened by a box that lives in the past."""
    todo = (
        "Set the clock: `timedatectl set-ntp true`. On a board without a battery check that fake-hwclock is installed."
    )
    if now < CLOCK_EARLIEST_MS:
        return _failing("clock", "it is before this program was written", todo)
    if line is None or line.clock_offset_ms is None:
        return _ok("clock", "not compared with the hub's yet")
    off = abs(line.clock_offset_ms)
    said = f"{span(off / 1000)} {'behind' if line.clock_offset_ms > 0 else 'ahead of'} the hub's"
    return _warning("clock", said, todo) if off > CLOCK_OFF_MS else _ok("clock", said)


def check_parcels(status: Status) -> Check:
    """The files that wait to be packed or sent can be read. Why one can't be, their process says of itself."""
    problem = UnreadableFileError.id
    names = {process.name for process in status.processes if process.problem == problem}
    if status.line is not None and status.line.problem == problem:
        names.add("forward")
    if not names:
        return _ok("parcels", "what waits to be sent can be read")
    said = "; ".join(process.status for process in status.processes if process.name in names)
    return _failing("parcels", f"{UnreadableFileError.id}: {said}", UnreadableFileError.hint)


def check_tunnel(tunnel: TunnelFacts, config: UnitConfig, now: int) -> Check:
    """The tunnel carries. Silence alone is a warning for ten minutes: the watchdog helps it."""
    told = tell(tunnel, config, now)
    if told.well:
        return _ok("tunnel to the hub", told.said, since=told.since)
    make = _failing if told.pressing else _warning
    return make("tunnel to the hub", told.said, told.todo, since=told.since)


def check_time_server(tunnel: TunnelFacts, line: Line | None) -> Check:
    """The clock was set since this box started: by NTP, or it agrees with the hub's (`check_clock`)."""
    if tunnel.clock_set:
        return _ok("time server", "the clock was set by NTP since this box started")
    if line is not None and line.clock_offset_ms is not None:
        return _ok("time server", "the clock was not set by NTP, but can be compared with the hub's")
    todo = (
        "Let NTP out by the uplinks, not by the tunnel: `timedatectl set-ntp true`, then `timedatectl timesync-status`."
    )
    return _warning("time server", "the clock was not set since this box started; the tunnel may be refused", todo)


def check_devices(dicom: Dicom, status: Status) -> Check:
    """Somebody may send, and nobody waits to be allowed."""
    if status.unknown_devices:
        said = f"unknown devices that asked to send and were refused: {status.unknown_devices}"
        return _warning(
            "devices", said, "On the page, under Needs help, allow or refuse it; or add [[dicom.modalities]]."
        )
    allowed = len(dicom.modalities) + status.allowed_devices
    if not allowed:
        return _warning(
            "devices",
            "no device may send yet",
            "Add a [[dicom.modalities]] table, or send once and allow it on the page.",
        )
    return _ok("devices", f"{allowed} may send")


def check_studies(status: Status) -> Check:
    """Nothing waits for a person."""
    if status.studies_in_need or status.refused_stores:
        said = f"in need of help: {status.studies_in_need}; refused to a modality: {status.refused_stores}"
        return _warning("studies", said, "Open the page: Needs help says for each what to do.")
    return _ok("studies", f"{status.studies_undelivered} of {status.studies} are on their way")
