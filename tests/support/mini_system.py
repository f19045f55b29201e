"""A hub and a unit on loopback, each process real, with a modality that stores small instances without a pause."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from support import canary
from support.launcher import ROOMS, Launcher, Running
from support.processes import SMALL_PARCELS, free_port, listens, wait_for, write_hub, write_unit
from support.recording_proxy import RecordingProxy
from support.safekeeping import Held, hub_leftovers, hub_problems, leftovers, unit_problems
from support.tiny_instances import TinyInstance, make
from support.tiny_scu import TinyScu

from appliance.config import load_hub
from appliance.errors import DatabaseError
from appliance.hub.credentials import new_secret
from appliance.hub.index import sites
from appliance.hub.index.database import Index
from appliance.store_forward.database import migrations, open_database

UNIT: Final = ("receive", "compress", "forward")


class Modality:
    """Stores instances in a thread of its own, each until it is acknowledged, and writes down which were."""

    def __init__(self, port: int, space: str, *, study_size: int = 12, side: int = 8, pause: float = 0.0) -> None:
        self._port, self._space, self._study_size, self._side = port, space, study_size, side
        self._pause = pause
        self.acknowledged: set[Held] = set()
        self.statuses: dict[int, int] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> Self:
        """Begins to send."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Ends after the instance in hand."""
        self._ended.set()
        self._thread.join()

    def refused(self) -> int:
        """Stores that got another status than success."""
        return sum(count for status, count in self.statuses.items() if status)

    def _run(self) -> None:
        number = 0
        while not self._ended.is_set():
            with contextlib.suppress(OSError), TinyScu(self._port) as scu:
                while not self._ended.is_set():
                    if self._store(scu, self._instance(number)):
                        number += 1
                    self._ended.wait(self._pause)
            self._ended.wait(0.005)

    def _instance(self, number: int) -> TinyInstance:
        return make(number // self._study_size, number, space=self._space, side=self._side)

    def _store(self, scu: TinyScu, instance: TinyInstance) -> bool:
        status = scu.store(instance)
        self.statuses[status] = self.statuses.get(status, 0) + 1
        if status == 0x0000:
            self.acknowledged.add((instance.sop_instance_uid, instance.digest))
            return True
        self._ended.wait(0.05)  # refused for now: a modality tries again
        return False


class MiniSystem:
    """`start` what is needed; `settle` waits until all that was acknowledged is delivered and checks both ends."""

    def __init__(
        self,
        directory: Path,
        *,
        unit_data: Path | None = None,
        hub_data: Path | None = None,
        rooms: Sequence[str] = tuple(ROOMS),
        proxied: bool = False,
        **values: Any,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.unit_data, self.hub_data = unit_data or directory / "unit", hub_data or directory / "hub"
        self.hub_data.mkdir(parents=True, exist_ok=True)
        self.dicom_port, self.hub_port, self.web_port = free_port(), free_port(), free_port()
        self.proxy = RecordingProxy(self.hub_port) if proxied else None
        hub_values = {key: value for key, value in values.items() if key.startswith(("hub__", "limits__"))}
        unit_values = {key.removeprefix("unit_"): value for key, value in values.items() if key not in hub_values}
        self.hub_config = write_hub(directory / "hub.toml", self.hub_data, self.hub_port, **hub_values)
        self.unit_config = write_unit(
            directory / "unit.toml",
            self.unit_data,
            self.dicom_port,
            **{
                "hub__url": f"http://127.0.0.1:{self.proxy.port if self.proxy else self.hub_port}",
                "hub__secret_file": str(self._add_site()),
                "hub__retry_seconds_max": 0.3,
                "web__port": self.web_port,
                **SMALL_PARCELS,
                **unit_values,
            },
        )
        self.launcher = Launcher(directory / "logs", rooms)
        self.running: dict[str, Running] = {}
        self.faults: dict[str, Sequence[str]] = {}

    def _add_site(self) -> Path:
        path = self.directory / "secret"
        path.write_text(add_site(self.hub_config))
        path.chmod(0o600)
        return path

    # ------------------------------------------------------------ processes

    def start(self, *names: str) -> None:
        """Starts these processes."""
        for name in names:
            config = self.hub_config if name == "hub" else self.unit_config
            self.running[name] = self.launcher.start(name, config, self.faults.get(name, ()))

    def await_listeners(self) -> None:
        """Returns when every started listener accepts connections, and the unit's database has its tables.

        `receive` listens before it opens the database: a modality that comes meanwhile waits, and a query must too.
        """
        ports = {"receive": self.dicom_port, "hub": self.hub_port, "web": self.web_port}
        for name, port in ports.items():
            if name in self.running:
                wait_for(lambda port=port: listens(port), f"{name} listens\n{self.last_log(name)}")
        if set(UNIT) & set(self.running):
            wait_for(lambda: is_migrated(self.unit_data), "the unit's database has its tables")

    def kill(self, name: str) -> None:
        """SIGKILL."""
        self.running.pop(name).kill()

    def ended(self) -> list[str]:
        """A sentence for each process that ended by itself."""
        codes = {name: process.exit_code() for name, process in self.running.items()}
        return [f"{name} ended with {code}: {self.last_log(name)}" for name, code in codes.items() if code is not None]

    def last_log(self, name: str) -> str:
        """The end of what the latest process of this name wrote."""
        logs = [path for path in self.launcher.log_files() if path.stem.endswith(name)]
        return logs[-1].read_text("utf-8", "replace")[-1500:] if logs else ""

    def modality(self, space: str, **options: Any) -> Modality:
        """A modality that has begun to send."""
        return Modality(self.dicom_port, space, **options).start()

    # ------------------------------------------------------------ facts

    def rows(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        """A query of the unit's database."""
        return _rows(self.unit_data / "appliance.db", sql, values)

    def hub_rows(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        """A query of the hub's index."""
        return _rows(self.hub_data / "hub.db", sql, values)

    def delivered(self) -> int:
        """Instances that have their receipt."""
        return int(self.rows("SELECT count(*) FROM instance WHERE state IN ('delivered', 'removed')")[0][0])

    def is_all_delivered(self) -> bool:
        """Nothing waits at the unit any more, and its parcels' files are gone."""
        instances = "SELECT count(*) FROM instance WHERE state NOT IN ('delivered', 'removed')"
        parcels = "SELECT count(*) FROM parcel WHERE state NOT IN ('delivered', 'refused') OR file_gone_at IS NULL"
        return self.rows(instances)[0][0] == 0 and self.rows(parcels)[0][0] == 0

    def settle(self, acknowledged: Collection[Held], seconds: float = 60.0, *, logs: bool = True) -> list[str]:
        """What is wrong once everything had time to be delivered: at the unit, at the hub, and in the logs."""
        try:
            wait_for(self.is_all_delivered, "everything is delivered", seconds)
        except TimeoutError:
            return [f"stuck: {line}" for line in self._stuck()]
        problems = unit_problems(self.unit_data, acknowledged) + hub_problems(self.hub_data, acknowledged)
        problems += leftovers(self.unit_data) + self._settled_hub_leftovers()
        return problems + (self.log_problems() if logs else [])

    def log_problems(self) -> list[str]:
        """Patient data and tracebacks in any log."""
        files = self.launcher.log_files()
        return canary.leaks(files) + canary.tracebacks(files)

    def _settled_hub_leftovers(self) -> list[str]:
        with contextlib.suppress(TimeoutError):
            wait_for(lambda: not hub_leftovers(self.hub_data), "the hub is tidy", 10.0)
        return hub_leftovers(self.hub_data)

    def _stuck(self) -> list[str]:
        query = "SELECT state, reason, count(*) AS count FROM instance GROUP BY state, reason"
        parcels = "SELECT state, refusal, count(*) AS count FROM parcel GROUP BY state, refusal"
        lines = [f"instances {tuple(row)}" for row in self.rows(query)]
        lines += [f"parcels {tuple(row)}" for row in self.rows(parcels)]
        return lines + self.ended() + [f"{name}: {self.last_log(name)}" for name in self.running]

    # ------------------------------------------------------------ end

    def close(self) -> None:
        """Ends everything."""
        self.launcher.close()
        if self.proxy:
            self.proxy.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def _rows(path: Path, sql: str, values: Sequence[Any]) -> list[sqlite3.Row]:
    with contextlib.closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as database:
        database.row_factory = sqlite3.Row
        return database.execute(sql, values).fetchall()


def is_migrated(data: Path) -> bool:
    """Whether the unit's database is there, with every table."""
    with contextlib.suppress(sqlite3.Error, DatabaseError), contextlib.ExitStack() as stack:
        database = stack.enter_context(contextlib.closing(open_database(data, read_only=True)))
        return bool(database.execute("PRAGMA user_version").fetchone()[0] >= migrations()[-1][0])
    return False


def until(seconds: float) -> Callable[[], bool]:
    """True while the time is not over."""
    deadline = time.monotonic() + seconds
    return lambda: time.monotonic() < deadline


def add_site(hub_config: Path) -> str:
    """What `appliance hub site add` does: the site `site-1`; returns its secret."""
    secret, digest = new_secret("site-1")
    index = Index.open(load_hub(hub_config))
    with index.write() as connection:
        sites.add(connection, "site-1", "Site", digest, 0)
    index.close()
    return secret
