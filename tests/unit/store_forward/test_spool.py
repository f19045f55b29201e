"""The spool: what is written, what is refused, and what is left behind."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from support import data, tiny_instances

from appliance.config import MIB
from appliance.errors import DicomError, DiskFullError, SpoolError, TooLargeError
from appliance.part10.identity import read_identity
from appliance.part10.meta import FileMeta, read_prefix
from appliance.store_forward.spool import Incoming, Spool, directory_of

META = FileMeta(tiny_instances.SECONDARY_CAPTURE, "2.25.1.1.1.1", tiny_instances.EXPLICIT_LITTLE)
ROOMY = 1 << 40


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    made = Spool(tmp_path / "spool", reserve_bytes=MIB)
    made.prepare()
    return made


def files(spool: Spool) -> list[str]:
    return sorted(str(p.relative_to(spool.root)) for p in spool.root.glob("*/*"))


def receive(spool: Spool, body: bytes, *, piece: int = 16384, meta: FileMeta = META) -> Incoming:
    incoming = spool.open(meta, size_max=ROOMY)
    for at in range(0, len(body), piece):
        incoming.write(memoryview(body)[at : at + piece])
    return incoming


def test_an_instance_is_a_part_10_file_whose_data_set_is_as_it_was_sent(spool: Spool) -> None:
    instance = tiny_instances.make(1, 1, side=200)
    meta = FileMeta(instance.sop_class_uid, instance.sop_instance_uid, instance.transfer_syntax_uid)
    sealed = receive(spool, instance.data, meta=meta).seal()
    file = spool.place(sealed, "0a")
    spool.sync("0a")
    raw = spool.path(file).read_bytes()
    assert sealed.digest == hashlib.sha256(instance.data).digest()
    assert sealed.size == len(instance.data)
    assert read_prefix(io.BytesIO(raw)) == (meta, len(raw) - len(instance.data))
    assert raw.endswith(instance.data)
    assert dcmread(spool.path(file)).SOPInstanceUID == instance.sop_instance_uid
    assert files(spool) == [file]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(body=st.binary(max_size=3000), piece=st.integers(1, 700))
def test_the_digest_is_that_of_the_bytes_in_whatever_pieces_they_came(spool: Spool, body: bytes, piece: int) -> None:
    sealed = receive(spool, body, piece=piece).seal()
    assert sealed.digest == hashlib.sha256(body).digest()
    sealed.path.unlink()


def test_an_object_over_the_ceiling_is_refused_and_leaves_nothing(spool: Spool) -> None:
    incoming = spool.open(META, size_max=1000)
    incoming.write(bytes(900))
    with pytest.raises(TooLargeError):
        incoming.write(bytes(101))
    assert files(spool) == []


def test_a_disk_under_its_reserve_takes_nothing(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", reserve_bytes=1 << 60)
    spool.prepare()
    with pytest.raises(DiskFullError):
        spool.open(META, size_max=ROOMY)
    assert files(spool) == []


def test_a_disk_that_fills_while_an_object_comes_ends_it(spool: Spool) -> None:
    incoming = spool.open(META, size_max=ROOMY)
    incoming.write(bytes(15 * MIB))
    spool._reserve_bytes = 1 << 60
    with pytest.raises(DiskFullError):
        incoming.write(bytes(MIB))
    assert files(spool) == []


@pytest.mark.parametrize("act", [lambda incoming: incoming.write(b"x"), lambda incoming: incoming.seal()])
def test_a_file_that_can_not_be_written_is_told_as_such(spool: Spool, act: Callable[[Incoming], object]) -> None:
    incoming = spool.open(META, size_max=ROOMY)
    os.close(incoming._fd)  # the descriptor is gone, as after an I/O error
    with pytest.raises(SpoolError):
        act(incoming)
    assert files(spool) == []


def test_discarding_removes_the_file(spool: Spool) -> None:
    receive(spool, b"half of it").discard()
    assert files(spool) == []


def test_what_was_being_received_at_the_end_is_gone_at_the_next_start(tmp_path: Path) -> None:
    first = Spool(tmp_path / "spool", reserve_bytes=MIB)
    first.prepare()
    receive(first, b"half of it")
    assert len(files(first)) == 1
    first.release()
    Spool(tmp_path / "spool", reserve_bytes=MIB).prepare()
    assert files(first) == []


def test_two_receivers_can_not_use_one_spool(spool: Spool) -> None:
    with pytest.raises(SpoolError, match="Another"):
        Spool(spool.root, reserve_bytes=MIB).prepare()
    spool.release()
    Spool(spool.root, reserve_bytes=MIB).prepare()


@pytest.mark.parametrize("path", data.dicom_files(), ids=lambda path: path.name)
def test_the_identity_from_memory_is_the_identity_from_the_whole_object(spool: Spool, path: Path) -> None:
    raw = path.read_bytes()
    meta, offset = read_prefix(io.BytesIO(raw))
    meta = FileMeta("1.2.3", "1.2.4", meta.transfer_syntax_uid)
    incoming = receive(spool, raw[offset:], meta=meta)
    try:
        expected = read_identity(io.BytesIO(raw[offset:]), meta.transfer_syntax_uid, len(raw) - offset)
    except DicomError:
        with pytest.raises(DicomError):
            incoming.identity()
    else:
        assert incoming.identity() == expected
    incoming.discard()


def test_the_identity_behind_a_long_private_element_is_found_in_the_file(spool: Spool) -> None:
    instance = tiny_instances.make(1, 1)
    long = tiny_instances.element(0x00090010, "OB", bytes(3 * MIB))
    at = instance.data.index(tiny_instances.element(0x00100010, "PN", b"")[:4])
    frames = tiny_instances.element(0x00280008, "IS", "7")
    end = instance.data.index(tiny_instances.element(0x00280010, "US", b"\0\0")[:4])
    body = instance.data[:at] + long + instance.data[at:end] + frames + instance.data[end:]
    incoming = receive(spool, body)
    assert incoming.identity().sop_instance_uid == instance.sop_instance_uid
    assert incoming.identity().number_of_frames == 7
    incoming.discard()


def test_names_are_ours_and_directories_follow_the_last_row(spool: Spool) -> None:
    names = set()
    for last_id in (0, 1023, 1024, 256 * 1024 - 1, 256 * 1024):
        directory = directory_of(last_id)
        file = spool.place(receive(spool, b"x").seal(), directory)
        names.add(file)
        assert file.startswith(f"{directory}/{directory}")
        assert len(Path(file).stem) == 32
        int(Path(file).stem, 16)
    assert [directory_of(n) for n in (0, 1023, 1024, 256 * 1024 - 1, 256 * 1024)] == ["00", "00", "01", "ff", "00"]
    assert len(names) == 5


HOSTILE = st.one_of(st.text(max_size=80), st.sampled_from(["../../etc/passwd", "/etc/passwd", "a\0b", ".." * 3000]))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(sop_class=HOSTILE, sop_instance=HOSTILE)
def test_no_uid_however_hostile_becomes_a_path(spool: Spool, sop_class: str, sop_instance: str) -> None:
    meta = FileMeta(sop_class, sop_instance, tiny_instances.EXPLICIT_LITTLE)
    try:
        incoming = spool.open(meta, size_max=ROOMY)
    except (UnicodeEncodeError, ValueError):  # the receiver judges UIDs before it opens a file
        return
    assert incoming.path.parent == spool.root / "incoming"
    file = spool.place(incoming.seal(), "00")
    assert spool.path(file).parent == spool.root / "00"
    assert {path.name for path in spool.root.parent.iterdir()} == {"spool"}
    spool.path(file).unlink()
