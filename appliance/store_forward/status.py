"""The facts that `appliance status` prints. They hold no patient data, so they may be sent to anyone who helps."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from pathlib import Path

import msgspec

from appliance import __version__
from appliance.config import UnitConfig
from appliance.errors import DatabaseError, NotFoundError
from appliance.model.help import BEAT_SILENT_MS
from appliance.model.priority import Priority
from appliance.model.tunnel import TunnelFacts
from appliance.named_sql import NamedSql
from appliance.store_forward.database import FILE_NAME, open_database
from appliance.store_forward.tunnel_rows import read_facts

_SQL = NamedSql("appliance.store_forward.sql", "status.sql")
PROCESSES = ("receive", "compress", "forward", "web")


def processes_of(config: UnitConfig) -> tuple[str, ...]:
    """The processes that this unit runs. Who has no [tunnel] has none to look after."""
    return (*PROCESSES, "tunnel") if config.tunnel.endpoint else PROCESSES


class Process(msgspec.Struct, frozen=True, kw_only=True):
    """One of the four processes, as its own row tells."""

    name: str
    alive: bool
    pid: int
    started_at: int
    beat_at: int
    status: str
    problem: str = ""  # an error id of errors.py that it waits to pass, or empty


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """The line to the hub as `forward` last measured it."""

    up: bool
    since: int
    bytes_per_second: float  # while sending; 0: not measured yet
    round_trip_ms: float
    hub: str
    hub_seen_at: int | None
    clock_offset_ms: int | None  # the hub's clock minus ours
    problem: str  # an error id of errors.py, or empty
    held: tuple[str, ...] = ()  # priorities that a rule or a pause holds back: `appliance link show` says why


class Disk(msgspec.Struct, frozen=True, kw_only=True):
    """Room on the data directory's file system, in bytes."""

    free: int
    total: int
    reserve: int  # below this nothing is accepted


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """A documented contract (docs/reference/cli.md): fields are only ever added. Times are Unix milliseconds, UTC."""

    at: int
    version: str
    site: str
    studies: int
    studies_undelivered: int
    studies_in_need: int
    instances_received: int  # here, waiting to be packed
    instances_packed: int  # packed, waiting for the hub's receipt
    instances_delivered: int  # the hub gave a receipt
    instances_quarantined: int  # a person must help
    instances_conflicting: int  # other bytes came under the same UID
    unpacked_bytes: int  # before packing
    bytes_to_send: int  # packed; bytes on the wire
    parcels_unverified: int  # sent whole, the hub is checking
    oldest_undelivered_at: int | None
    unknown_devices: int
    allowed_devices: int
    refused_stores: int
    line: Line | None  # None: the hub was never tried
    tunnel: TunnelFacts | None = None  # None: this unit does not look after one
    processes: tuple[Process, ...]
    disk: Disk


def read_status(config: UnitConfig, now: int) -> Status:
    """The facts at `now` (Unix ms). Raises NotFoundError when this unit never ran, else DatabaseError."""
    if not (config.data / FILE_NAME).exists():
        raise NotFoundError(
            f"This unit has not run yet: {config.data} holds no database", hint="Start it: `appliance run`"
        )
    try:
        with contextlib.closing(open_database(config.data, read_only=True)) as connection:
            return _gather(connection, config, now)
    except sqlite3.Error as error:
        raise DatabaseError(f"The database can't be read: {error}") from error


def _gather(connection: sqlite3.Connection, config: UnitConfig, now: int) -> Status:
    studies = connection.execute(_SQL["studies"]).fetchone()
    parcels = connection.execute(_SQL["parcels"]).fetchone()
    people = connection.execute(_SQL["people"]).fetchone()
    return Status(
        at=now,
        version=__version__,
        site=config.site.id,
        studies=studies["studies"],
        studies_undelivered=studies["undelivered"],
        studies_in_need=studies["in_need"],
        instances_received=studies["received"],
        instances_packed=studies["packed"],
        instances_delivered=studies["delivered"],
        instances_quarantined=studies["quarantined"],
        instances_conflicting=studies["conflicts"],
        unpacked_bytes=studies["unpacked_bytes"],
        bytes_to_send=parcels["bytes_to_send"],
        parcels_unverified=parcels["unverified"],
        oldest_undelivered_at=studies["oldest_undelivered_at"],
        unknown_devices=people["unknown_devices"],
        allowed_devices=people["allowed_devices"],
        refused_stores=people["refused_stores"],
        line=read_line(connection),
        tunnel=read_facts(connection, now) if config.tunnel.endpoint else None,
        processes=read_processes(connection, now),
        disk=read_disk(config.data, config.storage.reserve_bytes),
    )


def read_line(connection: sqlite3.Connection) -> Line | None:
    """The line as `forward` last measured it; None when it never tried."""
    row = connection.execute(_SQL["line"]).fetchone()
    if row is None:
        return None
    return Line(
        up=bool(row["up"]),
        since=row["since"],
        bytes_per_second=row["rate"],
        round_trip_ms=row["round_trip_ms"],
        hub=row["hub_name"],
        hub_seen_at=row["hub_seen_at"],
        clock_offset_ms=row["clock_offset_ms"],
        problem=row["problem"],
        held=tuple(Priority(number).word for number in json.loads(row["held"])),
    )


def read_processes(connection: sqlite3.Connection, now: int) -> tuple[Process, ...]:
    """Every process that ever ran on this box, by name."""
    return tuple(
        Process(
            name=row["name"],
            alive=is_alive(row["beat_at"], now),
            pid=row["pid"],
            started_at=row["started_at"],
            beat_at=row["beat_at"],
            status=row["status"],
            problem=row["problem"],
        )
        for row in connection.execute(_SQL["processes"])
    )


def is_alive(beat_at: int, now: int) -> bool:
    """Whether a process that last beat at `beat_at` still runs. One from the future is from before a clock change."""
    return abs(now - beat_at) <= BEAT_SILENT_MS


def read_disk(data: Path, reserve: int) -> Disk:
    """Room that an ordinary user has on the file system of `data`."""
    facts = os.statvfs(data)
    return Disk(free=facts.f_bavail * facts.f_frsize, total=facts.f_blocks * facts.f_frsize, reserve=reserve)


def newest_files(connection: sqlite3.Connection) -> list[tuple[int, str, int]]:
    """Instance id, file below spool/ and data set bytes of the newest 50 instances whose file must be there."""
    return [(row["id"], row["file"], row["bytes"]) for row in connection.execute(_SQL["newest_files"])]
