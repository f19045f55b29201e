"""A stick is torn out at any call to it: what is left is whole, the list is true, and the next run adds the rest."""

from __future__ import annotations

import os
import random
from pathlib import Path

from support.courier import Courier
from support.lossyfs import LossyMount
from support.sending_unit import noise

from appliance.compress.pool import WorkerPool
from appliance.config import Compress
from appliance.courier import cipher, listing
from appliance.courier.seal import digest_of_secret
from appliance.hub.credentials import new_secret

SECRET, _ = new_secret("site-1")
PARCELS = 8


def check(courier: Courier) -> None:
    """Raises AssertionError when a file is not what its name says, or the list names what is not there."""
    waiting = courier.waiting()
    whole = {path.stem for path in courier.files}
    for path in courier.files:
        assert cipher.decrypt_bytes(path.read_bytes(), courier.hub_keys) == waiting[path.stem]
    if (courier.site / "list").exists():
        content = (courier.site / "list").read_bytes()
        cover, _body = listing.read_cover(content, site="site-1", secret_digest=digest_of_secret(SECRET))
        assert {file.parcel for file in cover.files} <= whole


def directory(path: Path) -> Path:
    """An empty one, durable."""
    path.mkdir()
    descriptor = os.open(path.parent, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
    return path


def test_a_stick_that_is_torn_out_at_any_call_has_whole_files_and_a_true_list(tmp_path: Path, rounds: int) -> None:
    courier, chance = Courier(tmp_path, SECRET), random.Random(7)
    with WorkerPool(Compress(parcel_bytes=64 << 20)) as pool:
        for number in range(PARCELS):
            courier.unit.add_parcel(number, [noise(number, 1, 20_000)], pool=pool)
    with LossyMount(courier.stick) as disk:
        cuts = 0
        for seed in range(rounds or 25):
            disk.arm(after=chance.randint(1, 90))
            done = courier.export()
            if disk.wait_cut(0):
                cuts += 1
                assert done.exit_code == 3, done.output
                assert "E811" in done.stderr
                disk.power_on(seed)
                check(courier)
            else:
                assert done.exit_code == 0, done.output
                check(courier)
                assert len(courier.files) == PARCELS
                disk.arm(after=1_000_000)
                courier.stick = directory(disk.directory / str(seed))
        assert cuts >= (rounds or 25) // 3
        disk.arm(after=1_000_000)
        assert courier.exported()["on_stick"] == PARCELS
        check(courier)
