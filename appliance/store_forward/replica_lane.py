"""The way of the database's replication to the hub: a port on loopback, joined to one at the hub through the tunnel.

What goes up waits for the line until nobody wants it (`link.spare`), so that a study is never behind it. What comes
down is not held back: it takes the other direction of the line. The bytes are not ours to read.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Final

from appliance.config import UnitConfig
from appliance.errors import LinkError, ListenError
from appliance.link.spare import Spare, portion
from appliance.logs import get_logger
from appliance.model.priority import Priority
from appliance.store_forward.hub_line import HubLine
from appliance.store_forward.sender import Sender
from appliance.store_forward.transport import HubClient, unacknowledged

CONNECTIONS_MAX: Final = 4
_LOOK_SECONDS: Final = 0.1
_AGAIN_SECONDS: Final = 30.0
_PIECE: Final = 65_536
_ADDRESS: Final = "127.0.0.1"

log = get_logger()


class ReplicaLane:
    """`link.replica_port` of the configuration is where it listens; with 0 there is no such lane."""

    def __init__(self, config: UnitConfig, hub: HubClient, line: HubLine, sender: Sender) -> None:
        self._config, self._hub, self._line, self._sender = config, hub, line, sender
        self._wanted_at = time.monotonic()
        self._open = 0

    async def run(self) -> None:
        """Listens for ever. A port that another program has is tried again: studies go all the same."""
        port = self._config.link.replica_port
        while port:
            try:
                server = await asyncio.start_server(self._serve, _ADDRESS, port, limit=_PIECE)
            except OSError as error:
                log.error("can't listen on link.replica_port", error_id=ListenError.id, port=port, code=error.errno)
                await asyncio.sleep(_AGAIN_SECONDS)
                continue
            async with server:
                await self._watch()

    async def _watch(self) -> None:
        """Remembers when the line was wanted last."""
        while True:
            if self._sender.wants_line:
                self._wanted_at = time.monotonic()
            await asyncio.sleep(_LOOK_SECONDS)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until either end is through with it or the line is down."""
        if self._open >= CONNECTIONS_MAX:
            writer.close()
            return
        self._open += 1
        try:
            await self._until_spare(None)
            far_reader, far_writer = await self._hub.join(self._config.link.replica_hub_port)
            await self._join(reader, writer, far_reader, far_writer)
        except (LinkError, OSError) as error:  # whoever replicates tries again by itself
            log.info("the replica's connection ended", reason=type(error).__name__)
        finally:
            self._open -= 1
            writer.close()

    async def _join(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        far_reader: asyncio.StreamReader,
        far_writer: asyncio.StreamWriter,
    ) -> None:
        down = asyncio.create_task(_down(far_reader, writer))
        up = asyncio.create_task(self._up(reader, far_writer))
        try:
            await asyncio.wait({up, down}, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            for task in (up, down):
                task.cancel()
            results = await asyncio.gather(up, down, return_exceptions=True)
            far_writer.close()
        for error in results:
            if isinstance(error, OSError):
                raise error

    async def _up(self, reader: asyncio.StreamReader, far: asyncio.StreamWriter) -> None:
        """What is to go waits its turn, piece by piece. Bytes that were read are given on before the next are."""
        while piece := await reader.read(_PIECE):
            while piece:
                count = await self._until_spare(far)
                far.write(piece[:count])
                await far.drain()
                piece = piece[count:]
        far.write_eof()

    async def _until_spare(self, far: asyncio.StreamWriter | None) -> int:
        """How many bytes may go, as soon as any may. Raises ConnectionError when the other end is gone meanwhile."""
        while not (count := portion(self._spare(far))):
            if far is not None and far.transport.is_closing():
                raise ConnectionResetError
            await asyncio.sleep(_LOOK_SECONDS)
        return count

    def _spare(self, far: asyncio.StreamWriter | None) -> Spare:
        wanted = self._sender.wants_line
        return Spare(
            is_open=self._line.open.is_set(),
            may_go=Priority.PRIOR not in self._sender.held,
            wanted=wanted,
            quiet=0.0 if wanted else time.monotonic() - self._wanted_at,
            rate=self._hub.rate.value,
            outstanding=0 if far is None else unacknowledged(far.get_extra_info("socket")) or 0,
        )


async def _down(far: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await far.read(_PIECE):
        writer.write(piece)
        await writer.drain()
    with contextlib.suppress(OSError):
        writer.write_eof()
