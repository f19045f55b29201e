"""Writes a stick: what waits at the unit, encrypted to the hub, most urgent first; done again it adds what is missing.

A parcel's file is durable before the list names it, and the list is written anew every few seconds: a stick that is
torn out at any moment holds whole parcels and a list of nearly all of them. What the list lacks is found whole by the
next run, which writes only what is not there. At the end everything is read back: there are sticks that take what
they can't hold.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Collection, Sequence
from typing import Final

import msgspec

from appliance.courier import cipher, listing
from appliance.courier.faults import StickError, StickFullError, StickRefusedError
from appliance.courier.listing import FILES_MAX, Contents, StickFile, StudyFacts
from appliance.courier.plan import Fit, Item, fit
from appliance.courier.seal import SEALED_MAX
from appliance.courier.stick import LIST, Stick, translated

_LIST_SECONDS: Final = 5.0
_PIECE: Final = 1 << 20
Told = Callable[[int], object]  # bytes that were written or read since it was last told
Spent = Callable[[Collection[str]], set[str]]


class Sender(msgspec.Struct, frozen=True, kw_only=True):
    """Who writes the stick, and to whom."""

    site: str
    secret_digest: bytes  # SHA-256 of the site's secret
    hub_key: str  # public
    reply_to: str  # the unit's public key


class Written(msgspec.Struct, kw_only=True):
    """What an export did. Counts are of parcels; `bytes` of them, before encryption."""

    written: int = 0
    written_bytes: int = 0
    unreadable: int = 0  # their files at the unit are gone or damaged: packed anew by themselves
    lost: int = 0  # the stick did not keep what was written to it
    removed: int = 0  # the hub has them meanwhile


class Exporter:
    """One export. `spent_of` says which of the given digests are of parcels that the hub has, or that are never sent:
    their files may leave the stick. One that the unit does not know is another's only copy, and stays.
    """

    def __init__(self, stick: Stick, sender: Sender, studies: Sequence[StudyFacts], spent_of: Spent) -> None:
        self._stick, self.sender, self._studies, self._spent_of = stick, sender, studies, spent_of
        self._files: dict[str, StickFile] = {}  # in the order of the list
        self._listed_at = 0.0
        self.done = Written()

    def look(self, items: Sequence[Item], most: int | None) -> Fit:
        """What is to be written, and what there is no room for. Changes nothing. Raises StickError,
        StickRefusedError.
        """
        self._there = self._stick.parcels()
        self._spent = self._spent_of(self._there) - {item.parcel for item in items}
        self._listed = self._read_list()
        whole = {item.parcel for item in items if self._seems_whole(item)}
        others = {parcel for parcel in self._there if parcel in self._listed and parcel not in self._spent}
        room, block = self._stick.room()
        room += sum(size for parcel, size in self._there.items() if parcel in self._spent)
        return fit(items, whole | others, room=room, block=block, most=most, files=FILES_MAX)

    def _read_list(self) -> dict[str, StickFile]:
        content = self._stick.read(LIST, SEALED_MAX)
        if content is None:
            return {}
        try:
            cover, _ = listing.read_cover(content, site=self.sender.site, secret_digest=self.sender.secret_digest)
        except StickRefusedError as error:
            raise StickRefusedError(f"The list on this stick is not ours. {error.message}", hint=_NOT_OURS) from error
        if cover.hub_key != self.sender.hub_key:
            raise StickRefusedError("What is on this stick is for another key than [courier] hub_key", hint=_NOT_OURS)
        return {file.parcel: file for file in cover.files}

    def _seems_whole(self, item: Item) -> bool:
        """By its length; its bytes are read at the end."""
        size, listed = self._there.get(item.parcel, -1), self._listed.get(item.parcel)
        if listed:
            return (listed.bytes, listed.file_bytes) == (item.bytes, size)
        return cipher.sealed_bytes_min(item.bytes) <= size <= cipher.sealed_bytes_max(item.bytes)

    def write(self, fit: Fit, now: int, told: Told) -> None:
        """Does it. Raises StickError when the stick takes no more: what is whole until then is listed, if it can be."""
        self._clear()
        self._adopt(fit.there, told)
        try:
            for item in fit.take:
                self._write_parcel(item, told)
                if time.monotonic() - self._listed_at > _LIST_SECONDS:
                    self._write_list(now)
        except StickFullError:
            self._write_list(now)  # the room for it was kept
            raise
        self._write_list(now)
        if self._read_back(told):
            self._write_list(now)
            raise StickError(f"The stick did not keep {self.done.lost} of the parcels", hint=_BAD_STICK)

    def _clear(self) -> None:
        self._stick.remove_parts()
        for parcel in self._there.keys() & self._spent:
            self._stick.remove_parcel(parcel)
            self.done.removed += 1

    def _adopt(self, there: Sequence[Item], told: Told) -> None:
        """What an earlier run wrote stays; what it did not come to list is read."""
        for item in there:
            if item.parcel in self._listed:
                self._files[item.parcel] = self._listed[item.parcel]
            else:
                size, digest = self._digest(item.parcel, told)
                self._files[item.parcel] = StickFile(item.parcel, item.bytes, size, digest)
        for parcel, file in self._listed.items():  # of another choice, or of a unit that this one replaced
            if parcel not in self._spent and self._there.get(parcel) == file.file_bytes:
                self._files.setdefault(parcel, file)

    def _write_parcel(self, item: Item, told: Told) -> None:
        """Encrypts one parcel to its file. One that can't be read here, or is not what its digest says, is left out."""
        try:
            file = os.open(item.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            self.done.unreadable += 1
            return
        with os.fdopen(file, "rb", buffering=0) as plain:
            source = cipher.Source(plain, told)
            try:
                written = self._encrypt(item, source)
            except _DamagedError:
                self.done.unreadable += 1
                return
        self._files[item.parcel] = written
        self.done.written += 1
        self.done.written_bytes += item.bytes

    def _encrypt(self, item: Item, source: cipher.Source) -> StickFile:
        targets: list[cipher.Target] = []

        def fill(descriptor: int) -> None:
            with os.fdopen(os.dup(descriptor), "wb", buffering=0) as out:
                targets.append(cipher.Target(out))
                try:
                    cipher.encrypt(source, targets[0], self.sender.hub_key)
                except OSError as error:
                    if source.problem:
                        raise _DamagedError from error
                    raise
            if (source.bytes, source.digest) != (item.bytes, item.parcel):
                raise _DamagedError

        self._stick.write_parcel(item.parcel, fill)
        return StickFile(item.parcel, item.bytes, targets[0].bytes, targets[0].digest)

    def _write_list(self, now: int) -> None:
        sender = self.sender
        studies = (msgspec.structs.replace(s, parcels=self._on_stick(s)) for s in self._studies)
        contents = Contents(reply_to=sender.reply_to, studies=tuple(study for study in studies if study.parcels))
        files = list(self._files.values())
        content = listing.write_list(
            files, contents, site=sender.site, at=now, hub_key=sender.hub_key, secret_digest=sender.secret_digest
        )
        self._stick.write(LIST, content)
        self._listed_at = time.monotonic()

    def _on_stick(self, study: StudyFacts) -> tuple[str, ...]:
        return tuple(parcel for parcel in study.parcels if parcel in self._files)

    def _read_back(self, told: Told) -> bool:
        """Whether anything that the list names is not there as it was written; such a file is taken away."""
        for parcel, file in list(self._files.items()):
            if self._digest(parcel, told) != (file.file_bytes, file.file_sha256):
                del self._files[parcel]
                self._stick.remove_parcel(parcel)
                self.done.lost += 1
        return self.done.lost > 0

    def _digest(self, parcel: str, told: Told) -> tuple[int, str]:
        """Length and SHA-256 of the file, as the stick itself has it, not our memory of it."""
        found, size = hashlib.sha256(), 0
        with translated(), os.fdopen(self._stick.open_parcel(parcel), "rb", buffering=0) as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            while data := file.read(_PIECE):
                found.update(data)
                size += len(data)
                told(len(data))
        return size, found.hexdigest()

    @property
    def on_stick(self) -> tuple[int, int]:
        """How many parcels are on the stick, and their bytes."""
        return len(self._files), sum(file.bytes for file in self._files.values())


class _DamagedError(Exception):
    """The parcel at the unit is not what its digest says."""


_NOT_OURS: Final = (
    "It is left as it is. Bring it to its hub first (`appliance hub courier import`), or use another stick or another "
    "directory."
)
_BAD_STICK: Final = "This stick is broken or smaller than it says. Use another one; nothing is lost here."
