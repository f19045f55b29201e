"""Refused parcels, kept aside for a look: `refused/NAME.UPTIME`, with the hub's uptime in ms when each was refused.

They grow old in it, as uploads do: a clock that jumps takes none away too early, and keeps none for ever.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

DAYS: Final = 14
BYTES_MAX: Final = 2 << 30  # kept in all; the oldest go first
_DAY_MS: Final = 86_400_000


def keep(file: Path, directory: Path, up: int) -> None:
    """Puts the file of a parcel aside; `up` is the hub's uptime now, in ms. Raises OSError."""
    file.rename(directory / f"{file.name}.{up}")


def clean(directory: Path, up: int) -> None:
    """Keeps the newest, within days (`up`: the hub's uptime, in ms) and bytes. Raises OSError."""
    kept = 0
    for since, path in sorted(((_since(path), path) for path in directory.iterdir()), reverse=True):
        kept += path.stat().st_size
        if kept > BYTES_MAX or up - since > DAYS * _DAY_MS:
            path.unlink(missing_ok=True)


def _since(path: Path) -> int:
    """The uptime in its name; 0, the oldest, for a name that is none of ours."""
    _, _, up = path.name.partition(".")
    return int(up) if up.isascii() and up.isdigit() and len(up) < 20 else 0
