"""The encryption of a stick: whole and for the right key, or refused."""

from __future__ import annotations

import errno
import io
import os
import random

import pytest

from appliance.courier import cipher
from appliance.courier.cipher import Source, Target
from appliance.courier.faults import CourierKeyError, StickRefusedError

SECRET, PUBLIC = cipher.new_key()


@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 65537, 300_000])
def test_what_was_encrypted_comes_back_and_its_length_is_foretold(size: int) -> None:
    data = random.Random(size).randbytes(size)
    sealed = cipher.encrypt_bytes(data, PUBLIC)
    assert cipher.decrypt_bytes(sealed, [SECRET]) == data
    assert cipher.sealed_bytes_min(size) <= len(sealed) <= cipher.sealed_bytes_max(size)


def test_a_bit_that_changed_anywhere_is_found() -> None:
    sealed = cipher.encrypt_bytes(b"study", PUBLIC)
    for at in range(len(sealed)):
        changed = bytearray(sealed)
        changed[at] ^= 1 << at % 8
        with pytest.raises(StickRefusedError):
            cipher.decrypt_bytes(bytes(changed), [SECRET])


def test_a_missing_end_and_an_added_byte_are_found() -> None:
    sealed = cipher.encrypt_bytes(bytes(200_000), PUBLIC)
    for other in (sealed[:-1], sealed[: len(sealed) // 2], sealed[:10], b"", sealed + b"\0"):
        with pytest.raises(StickRefusedError):
            cipher.decrypt_bytes(other, [SECRET])


def test_only_the_secret_of_the_key_opens_it() -> None:
    other, _ = cipher.new_key()
    sealed = cipher.encrypt_bytes(b"study", PUBLIC)
    with pytest.raises(StickRefusedError):
        cipher.decrypt_bytes(sealed, [other])
    assert cipher.decrypt_bytes(sealed, [other, SECRET]) == b"study"


def test_more_than_was_announced_is_not_written() -> None:
    out = io.BytesIO()
    with pytest.raises(StickRefusedError, match="longer"):
        cipher.decrypt(Source(io.BytesIO(cipher.encrypt_bytes(bytes(300_000), PUBLIC))), Target(out, 100_000), [SECRET])
    assert len(out.getvalue()) <= 100_000


class _Full(io.RawIOBase):
    def write(self, data: object, /) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class _Broken(io.RawIOBase):
    def read(self, size: int = -1, /) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_a_full_disk_and_a_broken_one_are_told_as_they_are() -> None:
    sealed = cipher.encrypt_bytes(bytes(100_000), PUBLIC)
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)) as full:
        cipher.encrypt(Source(io.BytesIO(b"x")), Target(_Full()), PUBLIC)
    assert full.value.errno == errno.ENOSPC
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        cipher.decrypt(Source(io.BytesIO(sealed)), Target(_Full()), [SECRET])
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        cipher.encrypt(Source(_Broken()), Target(io.BytesIO()), PUBLIC)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        cipher.decrypt(Source(_Broken()), Target(io.BytesIO()), [SECRET])


@pytest.mark.parametrize(
    "key",
    ["", "age1", PUBLIC[:-1], PUBLIC[:-2] + ("qq" if PUBLIC[-2:] != "qq" else "pp"), PUBLIC.upper(), SECRET],
    ids=[
        "none",
        "prefix",
        "short",
        "changed",
        "capitals",
        "secret",
    ],  # keys are new each time; names must not be
)
def test_what_is_no_public_key_is_said_to_be_none(key: str) -> None:
    with pytest.raises(CourierKeyError):
        cipher.check_public(key)
