"""Files that are there and can't be read: a disk that fails, a directory of another owner. For root alone."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def a_disk_that_fails(file: Path) -> Iterator[None]:
    """Every read of `file` ends in EIO: below it lies the memory of this process, where nothing is mapped at 0."""
    subprocess.run(["mount", "--bind", f"/proc/{os.getpid()}/mem", str(file)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(file)], check=True)


@contextlib.contextmanager
def without_the_rights_of_root(config: Path, verb: str) -> Iterator[None]:
    """A process as the command line starts it; it may read only what its user may."""
    rights = "-dac_override,-dac_read_search"
    command = ["setpriv", f"--inh-caps={rights}", f"--bounding-set={rights}"]
    command += [sys.executable, "-m", "appliance.cli", "--config", str(config), verb]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
