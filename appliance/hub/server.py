"""The hub's process: it listens on the tunnel address, and runs the checks and the clean-up behind it."""

from __future__ import annotations

import asyncio
import fcntl
import ipaddress
import os
import shutil
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from aiohttp import web

from appliance.config import HubConfig
from appliance.errors import ConfigError, DatabaseError, ListenError, StoreError
from appliance.hub import answers, backfill, health, notices, previewing, uploads
from appliance.hub.access import answer_errors, require_site
from appliance.hub.checking import Checking
from appliance.hub.cleaning import Cleaning
from appliance.hub.dicom.listener import PacsListener
from appliance.hub.durable import sync_directory
from appliance.hub.guard import Guard, listening_socket
from appliance.hub.index import parcels
from appliance.hub.index.database import Index, make_data_directory
from appliance.hub.objects.opening import opened
from appliance.hub.objects.store import Store
from appliance.hub.parts import PARTS, Parts
from appliance.hub.people.web import divided, install
from appliance.logs import configure, get_logger
from appliance.systemd import notify

DIRECTORIES: Final = ("uploads", "refused", "staging", "archive", previewing.DIRECTORY)
_HEAD_BYTES: Final = 8190  # of a request line, and of one header
_HEADERS_MAX: Final = 64
_LINGER_SECONDS: Final = 2.0  # how long the rest of a refused body is read, so that the answer gets through
_STOP_SECONDS: Final = 5.0
_BEAT_SECONDS: Final = 2.0

log = get_logger()


def run(config: HubConfig, stop: threading.Event) -> None:
    """Serves until `stop` is set. Raises ConfigError for an address that is not to be listened on, DatabaseError."""
    configure("hub")
    asyncio.run(_run(config, stop))


async def _run(config: HubConfig, stop: threading.Event) -> None:
    hub = Hub(config)
    await hub.start()
    notify("READY=1", f"STATUS=listening on {hub.url}")
    beating = asyncio.create_task(_beat(hub))
    try:
        while not stop.is_set():
            hub.check_alive()
            await asyncio.sleep(0.2)
    finally:
        notify("STOPPING=1")
        beating.cancel()
        await hub.close()


async def _beat(hub: Hub) -> None:
    """Feeds the service manager's watchdog while the index answers; a hub that hangs is started again."""
    while True:
        waiting = await hub.waiting()
        if waiting is not None:
            notify("WATCHDOG=1", f"STATUS=listening on {hub.url}, {waiting} parcels to check")
        await asyncio.sleep(_BEAT_SECONDS)


async def _check(store: Store) -> None:
    """A store that refuses ends the start; one that can't be reached now may be back before it is needed."""
    try:
        await asyncio.to_thread(store.check)
    except StoreError as error:
        log.error("the object store can't be reached", error_id=error.id, reason=error.message)


def make_app(parts: Parts) -> web.Application:
    """The HTTP face of a hub."""
    app = web.Application(middlewares=[answer_errors, divided(require_site)])
    app[PARTS] = parts
    install(app, parts)
    app.add_routes([*uploads.routes(), *answers.routes(), *notices.routes(), *health.routes()])
    return app


class Hub:
    """One running hub. `start` and `close` it in the same event loop."""

    def __init__(self, config: HubConfig) -> None:
        self.address = check_address(config.hub.bind)
        self.pacs_address = check_address(config.pacs.bind, "pacs.bind")
        self.pacs_ports: list[int] = []  # plain DICOM, and DICOM TLS when there is
        self.config = config
        self.port = config.hub.port
        self._tasks: list[asyncio.Task[None]] = []
        self._closing = ExitStack()

    async def start(self) -> None:
        """Listens, and takes up what was left when the hub last ended. Raises ListenError, DatabaseError."""
        try:
            await self._start()
        except BaseException:
            await asyncio.to_thread(self._closing.close)
            raise

    async def _start(self) -> None:
        lock = _prepare(self.config.data)
        self._closing.callback(os.close, lock)
        self._parts = Parts(self.config, await asyncio.to_thread(Index.open, self.config))
        self._closing.callback(self._parts.close)
        store = opened(self.config)
        self._closing.callback(store.close)
        await _check(store)
        checking = Checking(self._parts, store)
        self._closing.callback(checking.close)
        drawing = checking.previewing()
        cleaning = Cleaning(self._parts, drawing.clean)
        await self._parts.blocking(cleaning.at_start)
        await self._listen()
        if self.config.pacs.peers:
            self._listen_for_peers()
        work = (
            checking.run(),
            cleaning.run(),
            drawing.run(),
            notices.watch_wishes(self._parts),
            backfill.run(self._parts, store),
        )
        self._tasks = [asyncio.create_task(one) for one in work]
        log.info("listening", address=self.address, port=self.port)

    async def _listen(self) -> None:
        self._runner = web.AppRunner(
            make_app(self._parts),
            access_log=None,
            keepalive_timeout=self.config.limits.silence_seconds,
            lingering_time=_LINGER_SECONDS,
            max_line_size=_HEAD_BYTES,
            max_field_size=_HEAD_BYTES,
            max_headers=_HEADERS_MAX,
            auto_decompress=False,
            shutdown_timeout=_STOP_SECONDS,
        )
        try:
            listener = listening_socket(self.address, self.config.hub.port)
        except OSError as error:
            raise ListenError(
                f"The hub can't listen on {self.address}:{self.config.hub.port}: {error.strerror}"
            ) from error
        await self._runner.setup()
        guard = Guard(self._runner.server)  # type: ignore[arg-type]
        self._server = await asyncio.get_running_loop().create_server(guard, sock=listener)
        self.port = listener.getsockname()[1]

    def _listen_for_peers(self) -> None:
        listener = PacsListener(self.config.pacs, self.pacs_address, self._parts.index)
        self._closing.callback(listener.stop)
        self.pacs_ports = listener.ports
        listener.start()

    @property
    def url(self) -> str:
        """Where units reach it."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"http://{host}:{self.port}"

    def check_alive(self) -> None:
        """Raises what ended one of the background tasks, for then the hub is to be started again."""
        for task in self._tasks:
            if task.done():
                task.result()

    async def waiting(self) -> int | None:
        """How many parcels wait for their check; None when the index does not say."""

        def count() -> int:
            with self._parts.index.read() as connection:
                return parcels.waiting(connection)

        try:
            return await self._parts.blocking(count)
        except DatabaseError as error:
            log.error("the index can't be read", error_id=error.id, reason=error.message)
            return None

    async def close(self) -> None:
        """Ends every request, each after its bytes are safe, and then everything else."""
        self._parts.stopping = True
        self._server.close()
        self._parts.holds.end_all()
        self._parts.decided.ring()
        self._parts.wished.ring()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._runner.cleanup()
        await asyncio.to_thread(self._closing.close)


def check_address(bind: str, key: str = "hub.bind") -> str:
    """The address to listen on. Raises ConfigError for a name, for every interface at once, and for a public one."""
    hint = _BIND_HINTS[key]
    try:
        address = ipaddress.ip_address(bind)
    except ValueError as error:
        raise ConfigError(f"{key}: {bind!r} is no IP address", hint=hint) from error
    if address.is_unspecified or address.is_multicast or address.is_global:
        raise ConfigError(f"{key}: the hub does not listen on {bind}", hint=hint)
    return str(address)


_BIND_HINTS: Final = {
    "hub.bind": "Give the hub's own address in the WireGuard tunnel, or 127.0.0.1 for a trial on one machine.",
    "pacs.bind": "Give the hub's own address in the network of the viewers and PACS, or 127.0.0.1 for a trial.",
}


def _prepare(data: Path) -> int:
    """Makes the directories, and returns the descriptor whose lock says that this hub alone writes them."""
    make_data_directory(data)
    try:
        for name in DIRECTORIES:
            (data / name).mkdir(mode=0o750, exist_ok=True)
        for directory in (data, data.parent):  # the data directory may be new, too
            sync_directory(directory)
        lock = os.open(data / "hub.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise DatabaseError(f"{data} can't be written: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        raise DatabaseError(f"Another hub runs on {data}", hint="Stop that one first.") from error
    for left in (data / "staging").iterdir():
        shutil.rmtree(left, ignore_errors=True)
    return lock
