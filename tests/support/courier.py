"""A unit with a queue and a configuration file, a hub with a key, and a directory that is the stick."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result
from support.hub import RunningHub, hub_config, running_hub
from support.processes import write_hub, write_unit
from support.sending_unit import SendingUnit, noise

from appliance.cli import cli
from appliance.compress.pool import WorkerPool
from appliance.courier import keyfile
from appliance.courier.cipher import public_of
from appliance.courier.stick import ROOT


def verb(config: Path, *arguments: str | Path) -> Result:
    """Runs a verb as a person does."""
    return CliRunner().invoke(cli, ["--config", str(config), *map(str, arguments)])


@dataclass
class Courier:
    """`unit` is that of site `site-1`; `stick` is where its stick is mounted; `hub_data` has the hub's key."""

    base: Path
    secret: str
    url: str = "http://127.0.0.1:9"
    hub_data: Path | None = None
    uplink: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.stick = self.base / "stick"
        self.stick.mkdir(exist_ok=True)
        self.unit = SendingUnit(self.base / "unit", self.url, self.secret, uplink=self.uplink)
        keys = self.hub_data or self.base / "hub"
        keys.mkdir(exist_ok=True)
        self.hub_keys = keyfile.keys_of(keys / keyfile.FILE_NAME)
        self.write_config(public_of(self.hub_keys[0]))

    def write_config(self, hub_key: str) -> None:
        secret_file = str(self.unit.secret_file)
        self.config = write_unit(
            self.base / "unit.toml",
            self.unit.data,
            0,
            site__id="site-1",
            hub__secret_file=secret_file,
            courier__hub_key=hub_key,
        )

    def export(self, *arguments: str | Path) -> Result:
        return verb(self.config, "courier", "export", self.stick, "--same-disk", *arguments)

    def exported(self, *arguments: str | Path, exit_code: int = 0) -> dict[str, Any]:
        done = self.export("--json", *arguments)
        assert done.exit_code == exit_code, done.output
        facts: dict[str, Any] = json.loads(done.stdout)
        return facts

    def receipts(self, *arguments: str) -> Result:
        return verb(self.config, "courier", "receipts", self.stick, *arguments)

    @property
    def site(self) -> Path:
        return self.stick / ROOT / "site-1"

    @property
    def files(self) -> list[Path]:
        return sorted(self.site.glob("parcels/*/*.age"))

    def waiting(self) -> dict[str, bytes]:
        """The parcels of the unit that are not settled, by digest."""
        sql = "SELECT lower(hex(digest)) AS digest, file FROM parcel WHERE state IN ('built', 'open', 'uploaded')"
        return {row["digest"]: (self.unit.data / "parcels" / row["file"]).read_bytes() for row in self.unit.rows(sql)}


def told(done: Result) -> Any:
    """The JSON object that a verb printed; a hub in this process logs to the same stream."""
    return json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))


@dataclass
class Both:
    """A hub that runs, and a unit with a stick."""

    hub: RunningHub
    courier: Courier
    hub_toml: Path
    pool: WorkerPool

    @property
    def unit(self) -> SendingUnit:
        return self.courier.unit

    def fill(self, parcels: int, size: int = 5_000, **values: Any) -> None:
        for number in range(parcels):
            self.unit.add_parcel(number, [noise(number, 1, size)], pool=self.pool, **values)

    def bring(self, *arguments: str) -> Result:
        return verb(self.hub_toml, "hub", "courier", "import", self.courier.stick, *arguments)

    def brought(self, *arguments: str, exit_code: int = 0) -> dict[str, Any]:
        """What the import did with the stick of site-1."""
        done = self.bring("--json", *arguments)
        assert done.exit_code == exit_code, done.output
        (site,) = told(done)["sites"]
        return dict(site)

    def held(self) -> int:
        return len(self.hub.rows("SELECT * FROM instance"))


@contextlib.contextmanager
def both_ends(base: Path, pool: WorkerPool, **values: Any) -> Iterator[Both]:
    """A hub that runs, and a unit with its stick."""
    toml = hub_file(base / "hub.toml", base / "hub")
    with running_hub(hub_config(base / "hub", **values)) as hub:
        yield Both(hub, Courier(base, hub.secret, hub.url, hub.data), toml, pool)


def hub_file(path: Path, data: Path) -> Path:
    """The configuration file of a hub for its verbs."""
    return write_hub(path, data, 0)
