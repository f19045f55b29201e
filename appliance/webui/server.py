"""The web process: the page on waitress, with a ceiling on threads, connections, headers and bodies."""

from __future__ import annotations

import threading
from typing import Any, Final

from waitress.server import create_server

from appliance.clock import now_ms
from appliance.config import UnitConfig
from appliance.errors import ListenError
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
        try:
            self._server = create_server(
                create_app(config),
                map=self._sockets,
                host=config.web.bind,
                port=config.web.port,
                threads=_THREADS,
                connection_limit=_CONNECTIONS,
                channel_timeout=_SILENT_SECONDS,
                cleanup_interval=5,
                max_request_body_size=BODY_MAX,
                max_request_header_size=_HEADER_MAX,
                ident=None,
                asyncore_use_poll=True,
                clear_untrusted_proxy_headers=True,
            )
        except (OSError, ValueError) as error:
            raise ListenError(f"web: {config.web.bind}:{config.web.port} can't be listened on: {error}") from error
        listeners = getattr(self._server, "effective_listen", None)
        self.port = int(listeners[0][1] if listeners else self._server.effective_port)

    def serve(self, stop: threading.Event) -> None:
        """Answers until `stop` is set, and beats. Raises DatabaseError."""
        beaten = 0
        database = open_database(self._data)
        try:
            while not stop.is_set():
                self._server.asyncore.loop(timeout=_TICK_SECONDS, use_poll=True, map=self._sockets, count=1)
                if abs(now_ms() - beaten) >= _BEAT_MS:
                    beaten = now_ms()
                    beat(database, "web", beaten, f"port {self.port}")
        finally:
            self.close()
            database.close()

    def close(self) -> None:
        """Closes every connection; requests that are being answered may end."""
        self._server.task_dispatcher.shutdown()
        for channel in list(self._sockets.values()):
            channel.close()


def run(config: UnitConfig, stop: threading.Event) -> None:
    """The web process: serves the page until `stop` is set. Raises ListenError, DatabaseError."""
    server = PageServer(config)
    get_logger().info("page is up", address=config.web.bind, port=server.port)
    server.serve(stop)
