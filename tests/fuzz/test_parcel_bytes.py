"""Parcels that were cut, flipped or made up: refused with a ParcelError, or the exact data sets, and nothing else."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import zstandard
from support import data
from support.images import CONTEXT, Image, data_set, source_of
from support.parcels import read, write

from appliance.compress.codecs.base import CodecError
from appliance.compress.layout import Layout
from appliance.compress.parcel import PREAMBLE_BYTES, Manifest, Preamble, read_preamble
from appliance.compress.pool import WorkerPool
from appliance.config import Compress
from appliance.errors import ParcelError

ROUNDS = 400


def _whole() -> tuple[list[bytes], bytes]:
    names = ("CT_small.dcm", "JPEG2000.dcm")
    sources = [source_of(data.file(name)) for name in names]
    sets = [source.path.read_bytes()[source.data_offset :] for source in sources]
    sparse = b"".join((4001 * (n % 5)).to_bytes(2, "little") for n in range(64 * 64))
    sets += [data_set(Image(64, 64), sparse), data_set(Image(64, 64, stored=8), bytes(range(128)) * 64)]
    return sets, write(sets)


SETS, PARCEL = _whole()


def sealed(parcel: bytes) -> bytes:
    """With the trailer that its bytes ask for, as a hostile unit would send it."""
    return parcel[:-32] + hashlib.sha256(parcel[:-32]).digest()


@pytest.fixture(scope="module")
def pool() -> Iterator[WorkerPool]:
    with WorkerPool(Compress(memory_bytes=512 << 20, cpu_seconds=5, wall_seconds=10)) as opened:
        yield opened


def test_flipped_bytes_are_refused_or_change_nothing(rounds: int) -> None:
    draw = random.Random(1)
    for _ in range(rounds or ROUNDS):
        parcel = bytearray(PARCEL)
        for _ in range(draw.randint(1, 4)):
            parcel[draw.randrange(len(parcel))] = draw.randrange(256)
        try:
            restored = read(sealed(bytes(parcel)))
        except (ParcelError, CodecError):
            continue
        assert [len(one) for one in restored] == [len(one) for one in SETS]


def test_a_parcel_cut_anywhere_is_refused() -> None:
    draw = random.Random(2)
    for length in [*range(0, 200, 7), *(draw.randrange(len(PARCEL)) for _ in range(100))]:
        with pytest.raises(ParcelError):
            read(sealed(PARCEL[:length]) if length > 32 else PARCEL[:length])


def test_a_flipped_preamble_is_refused_or_read_as_what_it_says() -> None:
    for at in range(PREAMBLE_BYTES):
        for bit in range(8):
            parcel = bytearray(PARCEL)
            parcel[at] ^= 1 << bit
            try:
                read(bytes(parcel))
            except (ParcelError, CodecError):
                continue
            assert at >= 48  # the name of a dictionary, which is the pool's business


def forged(manifest: Manifest, headers: bytes, blocks: bytes, front: int = 0) -> bytes:
    """A parcel in which nothing but the claims is wrong."""
    plain = manifest.encode() + headers
    head = zstandard.ZstdCompressor().compress(plain)
    size = len(plain) - len(headers)
    preamble = Preamble(head=len(head), manifest=size, head_raw=len(plain), blocks=len(blocks), front=front)
    return sealed(preamble.encode() + head + blocks + bytes(32))


def claims(**changed: object) -> Manifest:
    right = Manifest(
        study="1.2.3",
        site="site-1",
        priority="routine",
        digests="00" * 32,
        syntaxes=["1.2.840.10008.1.2.1"],
        sop_classes=["1.2"],
        callers=["CT1"],
        layouts=[Layout()],
        keep=[],
        uid=["1.2.3"],
        syntax=[0],
        sop_class=[0],
        caller=[0],
        layout=[0],
        received_at=[0],
        prefix=[0],
        body=[4 << 20],
        suffix=[0],
        codec=[1],
        packed=[0],
    )
    return msgspec.structs.replace(right, **changed)


ZSTD_BOMB = b"\x01" + zstandard.ZstdCompressor().compress(bytes(256 << 20))
UNKNOWN_SIZE_BOMB = b"\x01" + zstandard.ZstdCompressor(write_content_size=False).compress(bytes(64 << 20))
HUGE = Layout(rows=16000, columns=16000)


@pytest.mark.parametrize(
    ("manifest", "blocks"),
    [
        (claims(packed=[len(ZSTD_BOMB)]), ZSTD_BOMB),
        (claims(packed=[len(UNKNOWN_SIZE_BOMB)]), UNKNOWN_SIZE_BOMB),
        (claims(codec=[99], packed=[3]), b"abc"),
        (claims(codec=[0], packed=[3]), b"abc"),
        (claims(codec=[2], packed=[3], layouts=[HUGE], body=[256_000_000]), b"abc"),
        (claims(body=[1 << 40], codec=[1] * (1 << 18), packed=[0] * (1 << 18)), b""),
        (claims(priority="whenever", body=[0], codec=[], packed=[]), b""),
        (claims(digests="11" * 32, body=[3], codec=[0], packed=[3]), b"abc"),
        (claims(uid=["1.2.3"] * 2), b""),
    ],
    ids=["bomb", "bomb of unknown size", "codec", "short", "image", "terabyte", "priority", "digests", "columns"],
)
def test_hostile_claims_are_refused_in_the_sandbox_and_leave_no_file(
    pool: WorkerPool, tmp_path: Path, manifest: Manifest, blocks: bytes
) -> None:
    parcel = tmp_path / "a.parcel"
    parcel.write_bytes(forged(manifest, b"", blocks))
    with pytest.raises(ParcelError):
        pool.unpack(parcel, lambda _: None, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a.parcel"]


@pytest.mark.parametrize(
    ("early", "front"),
    [([1], 2), ([4], 4), ([1 << 48], 3), ([1, 1], 2), ([], 2), ([2], 0), ([-1], 0), ([3], (1 << 32) - 1)],
    ids=["less", "more than a block", "huge", "columns", "none", "no front", "negative", "all of it"],
)
def test_a_hostile_front_is_refused_in_the_sandbox(
    pool: WorkerPool, tmp_path: Path, early: list[int], front: int
) -> None:
    manifest = claims(body=[3], codec=[0], packed=[3], early=early, digests=_digests(b"abc"))
    parcel = tmp_path / "a.parcel"
    parcel.write_bytes(forged(manifest, b"", b"abc", front))
    with pytest.raises(ParcelError):
        pool.unpack(parcel, lambda _: None, tmp_path)
    right = claims(body=[3], codec=[0], packed=[3], early=[2], digests=_digests(b"abc"))
    parcel.write_bytes(forged(right, b"", b"abc", 2))
    assert pool.unpack(parcel, lambda _: None, tmp_path).instances[0].bytes == 3


def _digests(data_set_: bytes) -> str:
    return hashlib.sha256(hashlib.sha256(data_set_).digest()).hexdigest()


def test_a_head_that_inflates_to_more_than_it_claims_costs_no_memory(tmp_path: Path) -> None:
    head = zstandard.ZstdCompressor().compress(bytes(1 << 30))
    preamble = Preamble(head=len(head), manifest=2, head_raw=2, blocks=0)
    parcel = tmp_path / "a.parcel"
    parcel.write_bytes(sealed(preamble.encode() + head + bytes(32)))
    with WorkerPool(Compress()) as pool:
        with pytest.raises(ParcelError):
            pool.unpack(parcel, lambda _: None, tmp_path)
        assert 0 < pool.peak_bytes < 100 << 20


def test_flipped_parcels_through_the_sandbox_are_refused_or_byte_exact(
    pool: WorkerPool, tmp_path: Path, rounds: int
) -> None:
    source = source_of(data.file("CT_small.dcm"))
    pool.pack([source], CONTEXT, None, tmp_path / "right.parcel")
    right = (tmp_path / "right.parcel").read_bytes()
    draw = random.Random(3)
    for number in range(max(12, rounds // 20)):
        content = bytearray(right)
        content[draw.randrange(PREAMBLE_BYTES, len(content) - 32)] ^= 1 << draw.randrange(8)
        parcel, into = tmp_path / "a.parcel", tmp_path / str(number)
        parcel.write_bytes(sealed(bytes(content)))
        into.mkdir()
        try:
            restored = pool.unpack(parcel, lambda _: None, into)
        except ParcelError:
            assert not list(into.iterdir())
        else:
            assert [one.digest for one in restored.instances] == [source.digest]


def test_the_right_parcel_is_read() -> None:
    assert read(PARCEL) == SETS
    assert read_preamble(PARCEL, len(PARCEL)).file_bytes == len(PARCEL)
