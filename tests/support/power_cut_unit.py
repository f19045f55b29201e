"""Cuts the power of a whole unit, or of its packing, while a modality stores and a hub that stays up takes parcels."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from support import canary
from support.launcher import Running
from support.mini_system import MiniSystem
from support.power_cut import ReceiveRig
from support.processes import wait_for
from support.safekeeping import hub_problems, leftovers


class PackingRig(ReceiveRig):
    """`receive` and `compress` on one disk: what is called packed must be in a whole parcel."""

    name = "packing"
    rooms = ("receive", "compress")
    mutations = 1200
    pause = 0.03

    def start(self) -> list[Running]:
        return [*super().start(), self.launcher.start("compress", self.config, self.faults_of("compress"))]

    def finish(self) -> list[str]:
        receive, compress = self.start()
        try:
            wait_for(self._all_packed, "everything is packed", 90.0)
        except TimeoutError as error:
            return [str(error), receive.log.read_text()[-1000:], compress.log.read_text()[-1000:]]
        codes = [process.stop() for process in (receive, compress)]
        problems = [f"exit codes {codes}"] if any(codes) else []
        return problems + self.check() + leftovers(self.data)

    def _all_packed(self) -> bool:
        with closing(sqlite3.connect(self.data / "appliance.db", timeout=30)) as database:
            query = "SELECT count(*), total(state <> 'packed') FROM instance"
            instances, others = database.execute(query).fetchone()
            return bool(instances) and not others


class UnitRig(ReceiveRig):
    """A whole unit on one disk, sending to a hub whose power stays: nothing is called delivered that the hub lacks."""

    name = "unit"
    rooms = ()
    mutations = 1500
    pause = 0.03

    def prepare(self) -> None:
        self.data = self.disk.directory / "unit"
        self.system = MiniSystem(
            self.directory / "system",
            unit_data=self.data,
            rooms=("receive", "compress", "forward", "hub"),
            proxied=True,
        )
        self.closing.callback(self.system.close)
        self.port = self.system.dicom_port
        self.acknowledged = set()
        self.sent = 0
        self.system.start("hub")

    def start(self) -> list[Running]:
        self.system.start("receive", "compress", "forward")
        return [self.system.running[name] for name in ("receive", "compress", "forward")]

    def check(self) -> list[str]:
        return super().check() + self._delivered_and_not_held()

    def _delivered_and_not_held(self) -> list[str]:
        if not (self.data / "appliance.db").exists():
            return []
        with closing(sqlite3.connect(self.data / "appliance.db")) as database:
            if not database.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
                return []
            query = "SELECT sop_instance_uid, digest FROM instance WHERE state IN ('delivered', 'removed')"
            delivered = {(uid, digest.hex()) for uid, digest in database.execute(query)}
        return hub_problems(self.system.hub_data, delivered)

    def finish(self) -> list[str]:
        self.start()
        problems = self.system.settle(self.acknowledged, 120.0, logs=False)  # they tell of the disk that failed
        problems += canary.leaks(self.system.launcher.log_files())
        assert self.system.proxy
        return problems + self.system.proxy.seen.sent_again + self.check()
