"""The web process: the page on waitress, with a ceiling on threads, connections, headers and bodies."""

from __future__ import annotations

import socket
import sqlite3
import threading
from contextlib import closing
from typing import Any, Final

from waitress.server import create_server

from appliance.clock import now_ms
from appliance.config import UnitConfig
from appliance.errors import DatabaseError, ListenError
from appliance.logs import get_logger
from appliance.store_forward.database import open_database
from appliance.store_forward.queue import beat
from appliance.webui.app import BODY_MAX, create_app

_THREADS: Final = 6
_CONNECTIONS: Final = 100
_SILENT_SECONDS: Final = 30  # a connection that says nothing is closed
_HEADER_MAX: Final = 16_384
_TICK_SECONDS: Final = 0.5
_BEAT_MS: Final = 2000


class PageServer:
    """The listening page. `port` is the one it got, which matters when the configuration says 0."""

    def __init__(self, config: UnitConfig) -> None:
        """Binds the address. Raises ListenError when it can't."""
        self._data = config.data
        self._sockets: dict[int, Any] = {}
        listener = _listen(config.web.bind, config.web.port)
        self.port = int(listener.getsockname()[1])
        self._server = create_server(
            create_app(config),
            map=self._sockets,
            sockets=[listener],
            threads=_THREADS,
            connection_limit=_CONNECTIONS,
            channel_timeout=_SILENT_SECONDS,
            cleanup_interval=5,
            max_request_body_size=BODY_MAX,
            max_request_header_size=_HEADER_MAX,
            ident=None,
            clear_untrusted_proxy_headers=True,
        )

    def serve(self, stop: threading.Event) -> None:
        """Answers until `stop` is set, and beats."""
        beaten = 0
        try:
            while not stop.is_set():
                self._server.asyncore.loop(timeout=_TICK_SECONDS, use_poll=True, map=self._sockets, count=1)
                if abs(now_ms() - beaten) >= _BEAT_MS:
                    beaten = now_ms()
                    self._beat(beaten)
        finally:
            self.close()

    def _beat(self, now: int) -> None:
        """While the database can't be written the page stays and says so in words; the silent beat tells others."""
        try:
            with closing(open_database(self._data)) as database:
                beat(database, "web", now, f"port {self.port}")
        except (sqlite3.Error, DatabaseError) as error:
            get_logger().error("no beat", error_id=DatabaseError.id, exception=type(error).__name__)

    def close(self) -> None:
        """Closes every connection; requests that are being answered may end."""
        self._server.task_dispatcher.shutdown()
        for channel in list(self._sockets.values()):
            channel.close()


def _listen(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        return socket.create_server((address, port), family=family, backlog=_CONNECTIONS)
    except OSError as error:
        raise ListenError(f"web: {address}:{port} can't be listened on: {error}") from error


def run(config: UnitConfig, stop: threading.Event) -> None:
    """The web process: serves the page until `stop` is set. Raises ListenError, DatabaseError."""
    open_database(config.data).close()  # a box whose database can't be made or brought up to date says so at the start
    server = PageServer(config)
    get_logger().info("page is up", address=config.web.bind, port=server.port)
    server.serve(stop)
