"""The clock by which uploads grow old. It runs only while the hub does.

By the wall clock an upload would be too old after an outage of weeks in which no unit could send a byte, and all of
them at once when the hub starts with a clock that is far ahead.
"""

from __future__ import annotations

import time

from appliance.clock import now_ms
from appliance.hub.index import uptime
from appliance.hub.index.database import Index
from appliance.hub.index.uptime import Moment


class Uptime:
    """Counts on from what the index has. Thread-safe: only the index changes."""

    def __init__(self, index: Index) -> None:
        self._index = index
        with index.read() as connection:
            self._before = uptime.read(connection)
        self._began = time.monotonic()

    def milliseconds(self) -> int:
        """For how long the hub has been up, over all its starts."""
        return self._before + int((time.monotonic() - self._began) * 1000)

    def moment(self) -> Moment:
        """Now, by both clocks."""
        return Moment(at=now_ms(), up=self.milliseconds())

    def save(self) -> None:
        """Puts it into the index; a hub that is killed goes on from there. Blocking. Raises DatabaseError,
        DiskFullError.
        """
        with self._index.write() as connection:
            uptime.save(connection, self.milliseconds())
