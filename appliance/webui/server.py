"""The web process: the page on waitress, with a ceiling on threads, connections, headers and bodies."""

from __future__ import annotations

import socket
import sqlite3
import threading
import time
from collections import Counter
from contextlib import closing
from typing import Any, Final

from flask import Flask
from waitress.adjustments import Adjustments
from waitress.server import TcpWSGIServer
from waitress.task import ThreadedTaskDispatcher

from appliance.clock import now_ms
from appliance.config import UnitConfig
from appliance.errors import DatabaseError, ListenError
from appliance.logs import get_logger
from appliance.store_forward.database import open_database
from appliance.store_forward.full_disk import Wait
from appliance.store_forward.queue import beat
from appliance.webui import crowd
from appliance.webui.app import BODY_MAX, create_app
from appliance.webui.crowd import Connection
from appliance.webui.late_views import LateViews

_THREADS: Final = 6
_SILENT_SECONDS: Final = 30  # a connection that says nothing is closed
_HEADER_MAX: Final = 16_384
_TICK_SECONDS: Final = 0.5
_BEAT_SECONDS: Final = 2.0
_BUSY_SECONDS: Final = 2.0  # a lock on the database that is held longer costs one beat
_HANGS_SECONDS: Final = 10.0  # without a turn of the loop: then the page does not beat
_CROWD_SECONDS: Final = 60.0  # between two lines of the log about it


class PageServer:
    """The listening page. `port` is the one it got, which matters when the configuration says 0."""

    def __init__(self, config: UnitConfig) -> None:
        """Binds the address. Raises ListenError when it can't."""
        self._data = config.data
        self._turned = 0.0
        listener = _listen(config.web.bind, config.web.port)
        self.port = int(listener.getsockname()[1])
        app = create_app(config)
        self._late: LateViews = app.extensions["late_views"]
        self._writing = Wait("the queue")
        self._server = _Listener(app, listener)

    def serve(self, stop: threading.Event) -> None:
        """Answers until `stop` is set, and beats. The database and a slow disk never hold up the answers' way out."""
        self._turned = time.monotonic()
        beating = threading.Thread(target=self._beat_until, args=(stop,), name="beat", daemon=True)
        beating.start()
        try:
            while not stop.is_set():
                self._server.turn(_TICK_SECONDS)
                self._turned = time.monotonic()
        finally:
            self._server.end()
            stop.set()
            beating.join()

    def _beat_until(self, stop: threading.Event) -> None:
        while not stop.is_set():
            if time.monotonic() - self._turned < _HANGS_SECONDS:
                self._beat(now_ms())
            stop.wait(_BEAT_SECONDS)

    def _beat(self, now: int) -> None:
        """And writes what waits. While nothing can be written the page stays; the silent beat tells others."""
        try:
            with closing(open_database(self._data, busy_seconds=_BUSY_SECONDS)) as database:
                beat(database, "web", now, f"port {self.port}")
                self._late.write(database)
        except (sqlite3.Error, DatabaseError) as error:
            self._writing.begin(error if isinstance(error, DatabaseError) else DatabaseError())
        else:
            self._writing.end()


class _Listener(TcpWSGIServer):  # type: ignore[misc]  # waitress has no types
    """waitress, with its connections divided among addresses by `crowd`."""

    def __init__(self, app: Flask, listener: socket.socket) -> None:
        self._sockets: dict[int, Any] = {}
        self._closed = Counter[str]()  # connections of each address that were closed or not taken for the crowd
        self._told_at = time.monotonic()
        limits = Adjustments(
            sockets=[listener],
            threads=_THREADS,
            connection_limit=2 * crowd.IN_ALL,  # never reached: it would stop to accept
            channel_timeout=_SILENT_SECONDS,
            cleanup_interval=5,
            backlog=crowd.IN_ALL,
            max_request_body_size=BODY_MAX,
            max_request_header_size=_HEADER_MAX,
            ident=None,
            clear_untrusted_proxy_headers=True,
        )
        workers = ThreadedTaskDispatcher()
        workers.set_thread_count(_THREADS)
        super().__init__(
            app,
            map=self._sockets,
            _sock=listener,
            dispatcher=workers,
            adj=limits,
            sockinfo=(listener.family, listener.type, listener.proto, listener.getsockname()),
            bind_socket=False,
        )

    def turn(self, seconds: float) -> None:
        """Serves what is ready, or waits so long."""
        self.asyncore.loop(timeout=seconds, use_poll=True, map=self._sockets, count=1)
        self._tell_of_crowd()

    def accept(self) -> tuple[socket.socket, Any] | None:
        """The next connection that is admitted; makes room for it."""
        accepted: tuple[socket.socket, Any] | None = super().accept()
        if accepted is None:
            return None
        address = str(accepted[1][0])
        admission = crowd.admit([_seen(*one) for one in self.active_channels.items()], address)
        if admission.closed is not None:
            channel = self.active_channels[admission.closed]
            self._closed[str(channel.addr[0])] += 1
            channel.handle_close()
        if not admission.admitted:
            self._closed[address] += 1
            accepted[0].close()
            return None
        return accepted

    def _tell_of_crowd(self) -> None:
        now = time.monotonic()
        if self._closed and now - self._told_at >= _CROWD_SECONDS:
            ((worst, _),) = self._closed.most_common(1)
            get_logger().warning("connections_closed_for_others", address=worst, count=self._closed.total())
            self._closed.clear()
            self._told_at = now

    def end(self) -> None:
        """Closes every connection; requests that are being answered may end."""
        self.task_dispatcher.shutdown()
        for channel in list(self._sockets.values()):
            channel.close()


def _seen(number: int, channel: Any) -> Connection:
    return Connection(
        number=number,
        address=str(channel.addr[0]),
        heard_at=channel.last_activity,
        busy=bool(channel.requests),
    )


def _listen(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        return socket.create_server((address, port), family=family, backlog=crowd.IN_ALL)
    except OSError as error:
        raise ListenError(f"web: {address}:{port} can't be listened on: {error}") from error


def run(config: UnitConfig, stop: threading.Event) -> None:
    """The web process: serves the page until `stop` is set. Raises ListenError, DatabaseError."""
    # A box whose database can't be made or brought up to date says so at the start. It stays open: SQLite needs room to
    # open it anew when nobody has it, and on a full disk this page is asked most.
    with closing(open_database(config.data)):
        server = PageServer(config)
        get_logger().info("page is up", address=config.web.bind, port=server.port)
        server.serve(stop)
