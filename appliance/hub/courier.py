"""Takes parcels from a stick: each goes the way of an upload that got its last byte, so the same check decides.

Whose parcels they are is proved by the list's HMAC; which parcel it is, by its digest. A parcel is decrypted beside
the uploads, made durable, and then put among them in the transaction that says that it waits for its check. An
upload of the same parcel that is under way ends there: its next flush is told 404, the unit asks again, and hears
that the hub has it all.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec
import sqlalchemy.exc

from appliance.clock import now_ms
from appliance.config import HubConfig
from appliance.courier import cipher, keyfile, listing
from appliance.courier.faults import CourierKeyError, StickError, StickRefusedError
from appliance.courier.listing import Contents, ListCover, StickFile
from appliance.courier.seal import SEALED_MAX
from appliance.courier.stick import LIST, RECEIPTS, Stick
from appliance.errors import DatabaseError
from appliance.hub.durable import free_bytes, sync_directory
from appliance.hub.index import parcels, sites, uptime
from appliance.hub.index.database import Index
from appliance.hub.index.parcels import Opening
from appliance.hub.index.sites import Site
from appliance.hub.index.uptime import Moment
from appliance.hub.intake import translated
from appliance.hub.verdict import verdict_of
from appliance.model.priority import Priority
from appliance.model.receipt import ParcelVerdict, Verdict
from appliance.upload.headers import parcel_metadata

_DIRECTORY: Final = "courier"
_RECEIPTS_MAX: Final = SEALED_MAX // 2
_LOOK_SECONDS: Final = 0.2
_WHOLE: Final = (Verdict.CHECKING, Verdict.VERIFIED)
Told = Callable[[int], object]  # bytes that were read from the stick since it was last told


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """A parcel that was not taken, and why; `refusal` is the hub's word when its check refused it."""

    parcel: str
    reason: str
    refusal: str = ""


class Brought(msgspec.Struct, kw_only=True):
    """What an import did with the stick of one site. Counts are of parcels."""

    site: str
    written_at: int | None = None  # Unix ms by the unit's clock
    error: str = ""  # why nothing of this site is taken
    parcels: int = 0  # that the list names
    bytes: int = 0
    new: int = 0
    known: int = 0  # the hub had them: by another run, or over the line
    verified: int = 0  # of both
    waiting: int = 0  # for their check
    no_room: int = 0
    refused: list[Problem] = []
    damaged: list[Problem] = []  # on the stick: changed, missing, or can't be read
    receipts: int = 0  # that were written onto the stick, for so many parcels

    @property
    def is_clean(self) -> bool:
        """Nothing was wrong."""
        return not (self.error or self.refused or self.damaged)


class Opened(msgspec.Struct, frozen=True):
    """A list that was found to be the site's."""

    site: Site
    cover: ListCover
    contents: Contents

    def files(self) -> list[tuple[StickFile, Priority]]:
        """What it names, most urgent first."""
        words = {parcel: study.priority for study in self.contents.studies for parcel in study.parcels}
        files = [(file, Priority.from_word(words.get(file.parcel, "routine"))) for file in self.cover.files]
        return sorted(files, key=lambda one: one[1])


class _NotTakenError(Exception):
    """This parcel can't be taken; the message says why."""


def open_list(stick: Stick, site_id: str, index: Index, keys: Sequence[str]) -> Opened:
    """The site's list, proved to be of that site and for this hub. Raises StickError, StickRefusedError."""
    content = stick.read(LIST, SEALED_MAX)
    if content is None:
        raise StickRefusedError("It has no list: the unit was stopped at once. Export again.")
    with index.read() as connection:
        site = sites.find(connection, site_id)
    if site is None or site.revoked_at is not None:
        raise StickRefusedError("There is no such site here" if site is None else "This site is revoked", hint=_SITES)
    cover, body = listing.read_cover(content, site=site_id, secret_digest=site.secret_digest)
    if cover.hub_key not in {cipher.public_of(key) for key in keys}:
        raise StickRefusedError("It is encrypted to another hub's key", hint=_OTHER_KEY)
    return Opened(site, cover, listing.read_contents(body, keys))


_SITES: Final = "`appliance hub site list` names the sites."
_OTHER_KEY: Final = "Compare [courier] hub_key of the unit with `appliance hub courier key`, then export again."


class Importer:
    """One import; the only one on this hub while it lasts. `keys` are the hub's secret ones."""

    def __init__(self, config: HubConfig, index: Index, keys: Sequence[str], told: Told = lambda _: None) -> None:
        self._config, self._index, self._keys, self._told = config, index, keys, told
        self._directory, self._uploads = config.data / _DIRECTORY, config.data / "uploads"

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Holds the lock, and takes away what an import that was cut short left. Raises DatabaseError."""
        try:
            for directory in (self._directory, self._uploads):
                directory.mkdir(mode=0o750, exist_ok=True)
            lock = os.open(self._config.data / "courier.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise DatabaseError(f"{self._config.data} can't be written: {error.strerror}") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for left in self._directory.iterdir():
                left.unlink()
            yield
        except BlockingIOError as error:
            raise DatabaseError("Another import goes on", hint="Wait until that one is done.") from error
        finally:
            os.close(lock)

    def bring(self, stick: Stick, opened: Opened, seconds: float) -> Brought:
        """Gives every parcel to the check that the hub lacks. `seconds`: how long to wait for room on the disk."""
        site = opened.site.id
        done = Brought(site=site, written_at=opened.cover.at, parcels=opened.cover.parcels, bytes=opened.cover.bytes)
        for file, priority in opened.files():
            if self._verdict(site, file).verdict in _WHOLE:
                done.known += 1
            elif file.bytes <= self._config.limits.parcel_bytes_max and not self._await_room(site, file, seconds):
                done.no_room += 1
            else:
                self._bring(stick, site, file, priority, done)
        return done

    def _bring(self, stick: Stick, site: str, file: StickFile, priority: Priority, done: Brought) -> None:
        name = secrets.token_hex(16)
        path = self._directory / name
        try:
            self._decrypt(stick, file, path)
            new = self._adopt(site, file, priority, path, name)
        except _NotTakenError as error:
            done.damaged.append(Problem(parcel=file.parcel, reason=str(error)))
            return
        finally:
            path.unlink(missing_ok=True)
        done.new += new
        done.known += not new

    def _decrypt(self, stick: Stick, file: StickFile, path: Path) -> None:
        """The parcel's bytes, durable at `path`. Raises _NotTakenError, DiskFullError."""
        if not 0 < file.bytes <= self._config.limits.parcel_bytes_max:
            raise _NotTakenError("it is larger than this hub takes")
        try:
            descriptor = stick.open_parcel(file.parcel)
        except FileNotFoundError as error:
            raise _NotTakenError("it is missing on the stick") from error
        except OSError as error:
            raise _NotTakenError(f"it can't be read from the stick: {error.strerror}") from error
        with os.fdopen(descriptor, "rb", buffering=0) as sealed:
            if os.fstat(descriptor).st_size != file.file_bytes:
                raise _NotTakenError("its file on the stick has another length than the list says")
            source = cipher.Source(sealed, self._told)
            try:
                with path.open("xb", buffering=0) as plain:
                    target = cipher.Target(plain, file.bytes)
                    self._decrypt_to(source, target)
                    os.fsync(plain.fileno())
            except OSError as error:
                raise translated(error) from error
        if (source.bytes, source.digest) != (file.file_bytes, file.file_sha256):
            raise _NotTakenError("its file was changed on the stick")
        if (target.bytes, target.digest) != (file.bytes, file.parcel):
            raise _NotTakenError("it is not the parcel that the list names")

    def _decrypt_to(self, source: cipher.Source, target: cipher.Target) -> None:
        try:
            cipher.decrypt(source, target, self._keys)
        except StickRefusedError as error:
            raise _NotTakenError("its file was changed on the stick, or is for another key") from error
        except OSError as error:
            if source.problem:
                raise _NotTakenError(f"it can't be read from the stick: {error.strerror}") from error
            raise

    def _adopt(self, site: str, file: StickFile, priority: Priority, path: Path, name: str) -> bool:
        """Puts it among the uploads, whole. False when the hub has it meanwhile."""
        try:
            with self._index.write() as connection:
                known = parcels.find_by_digest(connection, site, bytes.fromhex(file.parcel))
                if known and known.verdict in _WHOLE:
                    return False
                moment = Moment(at=now_ms(), up=uptime.read(connection))
                metadata = parcel_metadata(file.parcel, priority.word)
                opening = Opening(name, file.bytes, int(priority), metadata, moment)
                if known:
                    parcels.reopen(connection, known.id, opening)
                else:
                    parcels.create(connection, site, bytes.fromhex(file.parcel), opening)
                parcels.set_offset(connection, name, file.bytes, moment)
                path.rename(self._uploads / name)
                sync_directory(self._uploads)
        except sqlalchemy.exc.IntegrityError:  # an upload was opened at this moment
            return self._adopt(site, file, priority, path, name)
        except OSError as error:
            raise translated(error) from error
        if known:
            (self._uploads / known.name).unlink(missing_ok=True)
        return True

    def _await_room(self, site: str, file: StickFile, seconds: float) -> bool:
        """Waits while the hub makes room by checking what it has. False: there is none."""
        until, waiting = time.monotonic() + seconds, -1
        while not self._has_room(site, file):
            with self._index.read() as connection:
                now = parcels.waiting(connection)
            if now != waiting:
                until, waiting = time.monotonic() + seconds, now
            if not waiting or time.monotonic() > until or not hub_runs(self._config):
                return False
            time.sleep(_LOOK_SECONDS)
        return True

    def _has_room(self, site: str, file: StickFile) -> bool:
        with self._index.read() as connection:
            _, size = parcels.usage(connection, site)
            known = parcels.find_by_digest(connection, site, bytes.fromhex(file.parcel))
        if known and known.verdict is Verdict.PARTIAL:
            size -= known.length
        if size + file.bytes > self._config.limits.partial_bytes_max:
            return False
        return free_bytes(self._directory) - self._config.hub.reserve_bytes >= file.bytes

    # Verdicts

    def await_verdicts(self, opened: Opened, done: Brought, seconds: float) -> None:
        """Waits until the hub has checked all that the list names, while it runs and is not silent for `seconds`."""
        site, pending, verified = opened.site.id, list(opened.cover.files), 0
        until = time.monotonic() + seconds
        while True:
            found = [(file, self._verdict(site, file)) for file in pending]
            verified += sum(verdict.verdict is Verdict.VERIFIED for _, verdict in found)
            done.refused += [_problem(verdict) for _, verdict in found if verdict.verdict is Verdict.REFUSED]
            left = [file for file, verdict in found if verdict.verdict is Verdict.CHECKING]
            if len(left) < len(pending):
                until = time.monotonic() + seconds
            pending = left
            if not pending or time.monotonic() > until or not hub_runs(self._config):
                break
            time.sleep(_LOOK_SECONDS)
        done.verified, done.waiting = verified, len(pending)

    def _verdict(self, site: str, file: StickFile) -> ParcelVerdict:
        with self._index.read() as connection:
            parcel = parcels.find_by_digest(connection, site, bytes.fromhex(file.parcel))
        if parcel is None:
            return ParcelVerdict(parcel=file.parcel, verdict=Verdict.UNKNOWN)
        return ParcelVerdict(parcel=file.parcel, verdict=parcel.verdict, refusal=parcel.refusal, reason=parcel.reason)

    def write_receipts(self, stick: Stick, opened: Opened, done: Brought) -> None:
        """Writes what became of the list's parcels onto the stick, for a unit whose line is dead. Raises StickError."""
        verdicts, size = [], 0
        for file in opened.cover.files:
            with self._index.read() as connection:
                verdict = verdict_of(connection, opened.site.id, bytes.fromhex(file.parcel))
            if verdict.verdict not in {Verdict.VERIFIED, Verdict.REFUSED}:
                continue
            size += len(msgspec.json.encode(verdict))
            if size > _RECEIPTS_MAX:  # the next stick has the rest
                break
            verdicts.append(verdict)
        content = listing.write_receipts(
            verdicts,
            site=opened.site.id,
            at=now_ms(),
            reply_to=opened.contents.reply_to,
            secret_digest=opened.site.secret_digest,
        )
        stick.write(RECEIPTS, content)
        done.receipts = len(verdicts)


def _problem(verdict: ParcelVerdict) -> Problem:
    return Problem(parcel=verdict.parcel, reason=verdict.reason, refusal=str(verdict.refusal or ""))


def public_key(data: Path) -> str:
    """The hub's key for sticks, for units to compare; empty when there is none that can be read."""
    with suppress(CourierKeyError, FileNotFoundError):
        return cipher.public_of(keyfile.read_keys(data / keyfile.FILE_NAME)[0])
    return ""


def hub_runs(config: HubConfig) -> bool:
    """Whether a hub works on this data directory now: it holds the lock."""
    with suppress(OSError):
        lock = os.open(config.data / "hub.lock", os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
    return False


def failed(site: str, error: StickError | StickRefusedError) -> Brought:
    """Nothing of this site is taken."""
    return Brought(site=site, error=f"{error.message}. {error.hint}" if error.hint else error.message)
