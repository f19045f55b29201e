"""A hub that is killed at any moment while it makes renditions: no half one is ever given out, and work goes on."""

from __future__ import annotations

import io
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from pydicom import dcmread
from pydicom.pixels.utils import pixel_array
from sqlalchemy import select
from support import data
from support.renditions import Archive

from appliance.hub.renditions import rows
from appliance.hub.renditions.tables import rendition, rendition_spent
from appliance.part10.transfer_syntax import EXPLICIT_LITTLE

INSTANCES = 4
KILLS = 5
# Makes, keeps and throws away for ever, and says when it begins.
VICTIM = """
import sys
from pathlib import Path
from support.renditions import Archive

archive = Archive.reopened(Path(sys.argv[1]))
print("ready", flush=True)
while True:
    for one in archive.stored():
        archive.get(one, "1.2.840.10008.1.2.1")
    with archive.index.write() as connection:
        from appliance.hub.renditions import rows
        rows.make_room(connection, 0)
    archive.renditions.clean()
"""


def test_no_half_rendition_is_given_out_whenever_the_hub_is_killed(tmp_path: Path) -> None:
    content = data.file("MR_small_RLE.dcm").read_bytes()
    wanted = pixel_array(dcmread(io.BytesIO(content)), raw=True)
    dice = random.Random(20261124)
    with Archive(tmp_path / "hub") as archive:
        for number in range(1, INSTANCES + 1):
            archive.add(content, number)
    for _ in range(KILLS):
        _killed(tmp_path / "hub", dice.uniform(0, 0.5))
        archive = Archive.reopened(tmp_path / "hub")
        with archive:
            archive.now = int(time.time() * 1000) + rows.LEASE_MS  # leases of the dead have ended
            for one in archive.stored():
                _, got = archive.get(one, EXPLICIT_LITTLE)
                np.testing.assert_array_equal(pixel_array(dcmread(io.BytesIO(got)), raw=True), wanted)
            archive.renditions.clean()
            with archive.index.read() as connection:
                kept = set(connection.execute(select(rendition.c.stored_key)).scalars())
                assert connection.execute(select(rendition_spent)).all() == []
            assert archive.objects() == kept | {one.stored_key for one in archive.stored()}
            assert len(list((archive.data / "renditions").glob("process-*"))) == 1


def _killed(directory: Path, seconds: float) -> None:
    """Runs the victim, and kills it and its workers so long after it began."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", VICTIM, str(directory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as victim:
        assert victim.stdout
        assert victim.stdout.readline() == b"ready\n"
        try:
            victim.wait(seconds)
        except subprocess.TimeoutExpired:
            victim.send_signal(signal.SIGKILL)
        assert victim.wait() == -signal.SIGKILL
