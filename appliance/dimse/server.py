"""The guarded DICOM listener: a thread for each association, and never more than the house holds.

The accept loop does nothing that a peer can hold up: no handshake, no read that blocks, no question to the database.
A connection there is no room for gets no thread: it waits, with at most 31 others and for two seconds, for its
request, is told to come back later (PS3.8 9.3.4) and is closed. All others are closed at once.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import ssl
import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import Final

from appliance.dimse import pdu
from appliance.dimse.policy import LOCAL_LIMIT_EXCEEDED, TEMPORARY_CONGESTION, Room, plain_address, room_for
from appliance.dimse.session import Application, Limits, Session
from appliance.dimse.transport import tune
from appliance.errors import ConfigError
from appliance.logs import get_logger

_TURNED_AWAY_MAX: Final = 32
_TURNED_AWAY_SECONDS: Final = 2.0
_REPORT_SECONDS: Final = 10.0
_BACKLOG: Final = 128
_GRACE_SECONDS: Final = 5.0
_log = get_logger()


@dataclass(frozen=True, slots=True)
class Listening:
    """An address to listen on; with `tls`, for DICOM TLS."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None


@dataclass(slots=True)
class _TurnedAway:
    sock: socket.socket
    answer: pdu.AssociateReject
    until: float


class DicomServer:
    """Listens once constructed (`ports` has the real ports), serves between `start` and `stop`."""

    def __init__(
        self,
        listening: list[Listening],
        application: Application,
        limits: Limits,
        *,
        associations_max: int,
        per_peer_max: int,
    ) -> None:
        self._application, self._limits = application, limits
        self._associations_max, self._per_peer_max = associations_max, per_peer_max
        self._selector = selectors.DefaultSelector()
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._selector.register(self._wake_reader, selectors.EVENT_READ)
        self._lock = threading.Lock()
        self._sessions: dict[Session, tuple[str, threading.Thread]] = {}
        self._turned_away: dict[int, _TurnedAway] = {}
        self._refused, self._reported = Counter[str](), time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="dicom-accept", daemon=True)
        self.ports = list[int]()
        try:
            for one in listening:
                self.ports.append(self._listen(one))
        except ConfigError:
            self._close_all()
            raise

    def _listen(self, one: Listening) -> int:
        try:
            family = socket.getaddrinfo(one.host, one.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
            both = family == socket.AF_INET6 and one.host == "::"
            sock = socket.create_server((one.host, one.port), family=family, backlog=_BACKLOG, dualstack_ipv6=both)
        except OSError as error:
            raise ConfigError(
                f"Can't listen on {one.host} port {one.port}: {error.strerror}",
                hint="Another program uses this port, or the address is not this machine's: see `dicom.bind`.",
            ) from error
        sock.setblocking(False)
        self._selector.register(sock, selectors.EVENT_READ, one)
        return int(sock.getsockname()[1])

    def start(self) -> None:
        """Starts to accept."""
        self._thread.start()

    def stop(self) -> None:
        """Stops accepting, lets each instance in hand be finished for five seconds, then aborts what is left."""
        if self._stop.is_set():
            return
        self._stop.set()
        self._wake_writer.send(b"\0")
        if self._thread.is_alive():
            self._thread.join()
        self._close_all()
        deadline = time.monotonic() + _GRACE_SECONDS
        self._end_sessions(now=False, until=deadline)
        self._end_sessions(now=True, until=deadline + _GRACE_SECONDS)

    def _end_sessions(self, *, now: bool, until: float) -> None:
        with self._lock:
            sessions = [(session, thread) for session, (_, thread) in self._sessions.items()]
        for session, _ in sessions:
            session.stop(now=now)
        for _, thread in sessions:
            thread.join(max(0.0, until - time.monotonic()))

    def _close_all(self) -> None:
        for key in list(self._selector.get_map().values()):
            self._selector.unregister(key.fileobj)
            if isinstance(key.fileobj, socket.socket):
                key.fileobj.close()
        self._selector.close()
        self._wake_writer.close()

    @property
    def associations(self) -> int:
        """How many connections have a thread now."""
        with self._lock:
            return len(self._sessions)

    def _run(self) -> None:
        while not self._stop.is_set():
            timeout = 0.2 if self._turned_away or self._refused else None
            for key, _ in self._selector.select(timeout):
                if isinstance(key.data, Listening):
                    self._accept(key.fileobj, key.data)
                elif isinstance(key.data, _TurnedAway):
                    self._tell(key.data)
            self._tidy(time.monotonic())

    def _accept(self, listener: object, how: Listening) -> None:
        if not isinstance(listener, socket.socket):
            return
        try:
            sock, peer = listener.accept()
        except BlockingIOError:
            return
        except OSError as error:  # out of file descriptors, or the peer left: neither may end the loop
            _log.error("accept_failed", reason=str(error.strerror))
            self._stop.wait(0.05)
            return
        try:
            tune(sock)
            address = plain_address(str(peer[0]))
        except (OSError, ValueError):
            sock.close()
            return
        self._admit(sock, address, how)

    def _admit(self, sock: socket.socket, address: str, how: Listening) -> None:
        room = self._room(address)
        if room is not Room.YES:
            self._refused[address] += 1
            answer = LOCAL_LIMIT_EXCEEDED if room is Room.PEER_FULL else TEMPORARY_CONGESTION
            self._turn_away(sock, answer, is_plain=how.tls is None)
            return
        session = Session(sock, address, self._application, self._limits, how.tls)
        thread = threading.Thread(target=self._serve, args=(session,), name="dicom-association", daemon=True)
        with self._lock:
            self._sessions[session] = (address, thread)
        try:
            thread.start()
        except RuntimeError:  # the system has no more threads to give
            _log.error("association_failed", address=address, reason="no thread")
            self._leave(session)
            sock.close()

    def _room(self, address: str) -> Room:
        with self._lock:
            peers = Counter(peer for peer, _ in self._sessions.values())
        known = {peer for peer in [address, *peers] if self._application.knows(peer)}
        return room_for(address, peers, total_max=self._associations_max, per_peer_max=self._per_peer_max, known=known)

    def _serve(self, session: Session) -> None:
        try:
            session.run()
        finally:
            self._leave(session)

    def _leave(self, session: Session) -> None:
        with self._lock:
            self._sessions.pop(session, None)

    def _turn_away(self, sock: socket.socket, answer: pdu.AssociateReject, *, is_plain: bool) -> None:
        if not is_plain or len(self._turned_away) >= _TURNED_AWAY_MAX:
            sock.close()
            return
        sock.setblocking(False)
        waiting = _TurnedAway(sock, answer, time.monotonic() + _TURNED_AWAY_SECONDS)
        self._turned_away[sock.fileno()] = waiting
        self._selector.register(sock, selectors.EVENT_READ, waiting)

    def _tell(self, waiting: _TurnedAway) -> None:
        """Its request is here: answer, and wait for the peer to close, so that the answer is not lost in a reset."""
        try:
            if not waiting.sock.recv(1 << 16):
                self._drop(waiting)
                return
            waiting.sock.send(pdu.encode(waiting.answer))
            waiting.sock.shutdown(socket.SHUT_WR)
        except BlockingIOError:
            return
        except OSError:
            self._drop(waiting)

    def _drop(self, waiting: _TurnedAway) -> None:
        self._turned_away.pop(waiting.sock.fileno(), None)
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(waiting.sock)
        waiting.sock.close()

    def _tidy(self, now: float) -> None:
        for waiting in [w for w in self._turned_away.values() if w.until <= now]:
            self._drop(waiting)
        if self._refused and now - self._reported >= _REPORT_SECONDS:
            ((most, _),) = self._refused.most_common(1)
            _log.warning("connections_turned_away", address=most, count=self._refused.total())
            self._refused.clear()
            self._reported = now
