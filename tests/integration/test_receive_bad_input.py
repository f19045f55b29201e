"""What a broken or hostile modality sends: the right status, nothing kept of it, and the next one is fine."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import tiny_instances, tiny_scu
from support.processes import wait_for
from support.receiving import receiving, rows, spool_files, unit_config
from support.tiny_instances import EXPLICIT_LITTLE, SECONDARY_CAPTURE, TinyInstance, element
from support.tiny_scu import AssociationRefusedError, TinyScu

from appliance.config import MIB
from appliance.store_forward.receive import Receiver

GOOD = tiny_instances.make(1, 1)
HEADER_END = GOOD.data.index(struct.pack("<HH", 0x7FE0, 0x0010))
CT = "1.2.840.10008.5.1.4.1.1.2"
IMPLICIT, DEFLATED = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1.99"


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    with receiving(unit_config(tmp_path, max_object_bytes=2 * MIB)) as started:
        yield started


def data_of(receiver: Receiver) -> Path:
    return receiver.spool.root.parent


def without(tag: int, data: bytes = GOOD.data) -> bytes:
    """The data set without one short element."""
    at = data.index(struct.pack("<HH", tag >> 16, tag & 0xFFFF))
    (length,) = struct.unpack_from("<H", data, at + 6)
    return data[:at] + data[at + 8 + length :]


def with_(tag: int, vr: str, value: bytes | str) -> bytes:
    """The data set with one element's value changed."""
    before = GOOD.data.index(struct.pack("<HH", tag >> 16, tag & 0xFFFF))
    cut = without(tag)
    return cut[:before] + element(tag, vr, value) + cut[before:]


def nested(depth: int) -> bytes:
    """Sequences of undefined length, one in the other, closed properly."""
    head = struct.pack("<HH2sHL", 0x0008, 0x1140, b"SQ", 0, 0xFFFFFFFF) + struct.pack(
        "<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF
    )
    tail = struct.pack("<HHL", 0xFFFE, 0xE00D, 0) + struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
    return head * depth + tail * depth


LONG_CLAIM = struct.pack("<HH2sHL", 0x0009, 0x0010, b"OB", 0, 0xFFFFFFF0)

REFUSED = {
    "not DICOM": (b"GET / HTTP/1.1\r\n" * 200, 0xC000),
    "zeros": (bytes(10_000), 0xC000),
    "empty": (b"", 0xC000),
    "a whole file with preamble and meta": (
        bytes(128) + b"DICM" + element(0x00020010, "UI", "1.2") + GOOD.data,
        0xC000,
    ),
    "ends before the UIDs": (GOOD.data[:200], 0xC000),
    "a length of four gigabytes before the UIDs": (GOOD.data[:60] + LONG_CLAIM + GOOD.data[60:], 0xC000),
    "sequences 10,000 deep": (nested(10_000) + GOOD.data, 0xC000),
    "no study": (without(0x0020000D), 0xC000),
    "an empty study": (with_(0x0020000D, "UI", ""), 0xC000),
    "a study that climbs": (with_(0x0020000D, "UI", "../../../../etc/passwd"), 0xC000),
    "a series of ten thousand characters": (with_(0x0020000E, "UI", "../" * 3334), 0xC000),
    "an empty instance": (with_(0x00080018, "UI", ""), 0xC000),
    "another instance than announced": (with_(0x00080018, "UI", "1.2.3.4"), 0xC001),
    "another class than announced": (with_(0x00080016, "UI", CT), 0xA900),
    "larger than allowed": (GOOD.data[:HEADER_END] + element(0x7FE00010, "OW", bytes(3 * MIB)), 0xA700),
}
TAKEN = {
    "ends in the pixels": GOOD.data[: HEADER_END + 40],
    "65535 x 65535 pixels claimed": with_(0x00280010, "US", b"\xff\xff").replace(
        element(0x00280011, "US", struct.pack("<H", 8)), element(0x00280011, "US", b"\xff\xff")
    ),
    "a pixel length of four gigabytes": GOOD.data[:HEADER_END]
    + struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"OW", 0, 0xFFFFFFF0)
    + bytes(64),
    "a character set that nobody knows": with_(0x00080005, "CS", "ISO_IR 9999"),
    "text that does not decode": with_(0x00100010, "PN", b"\xff\xfe\xfd^\x80\x81"),
    "a name with markup and escapes": with_(0x00100010, "PN", b"<script>^\x1b$B'; DROP TABLE study;--\x00\r\n"),
    "sequences 20 deep": nested(20) + GOOD.data,
}


def store(scu: TinyScu, data: bytes) -> int:
    return scu.store(TinyInstance(GOOD.sop_instance_uid, data))


@pytest.mark.parametrize("name", REFUSED)
def test_what_can_not_be_taken_is_refused_shown_and_forgotten(receiver: Receiver, name: str) -> None:
    body, status = REFUSED[name]
    with TinyScu(receiver.port) as scu:
        assert store(scu, body) == status
        assert store(scu, body) == status
        assert scu.store(tiny_instances.make(2, 2)) == 0  # the association goes on
        scu.release()
    expected = {0xC000: "E301", 0xC001: "E303", 0xA900: "E303", 0xA700: "E304"}[status]
    query = "SELECT calling_ae, address, status, error_id, times FROM refused_store"
    wait_for(lambda: rows(data_of(receiver), query) == [("TEST", "127.0.0.1", status, expected, 2)], "it is shown")
    assert rows(data_of(receiver), "SELECT sop_instance_uid FROM instance") == [("2.25.1.2.1.2",)]
    assert len(spool_files(data_of(receiver))) == 1


@pytest.mark.parametrize("name", TAKEN)
def test_what_can_be_identified_is_taken_as_it_is(receiver: Receiver, name: str) -> None:
    with TinyScu(receiver.port) as scu:
        assert store(scu, TAKEN[name]) == 0
        scu.release()
    ((file, uid),) = rows(data_of(receiver), "SELECT file, sop_instance_uid FROM instance")
    assert uid == GOOD.sop_instance_uid
    assert (receiver.spool.root / file).read_bytes().endswith(TAKEN[name])


@pytest.mark.parametrize(
    "uid", ["", "../" * 3334, "../../../tmp/x", "1.2.é", "1.2.3;rm -rf /", "1.2\n.3", "a.b", "1" * 65]
)
def test_a_hostile_instance_uid_in_the_command_is_refused_and_never_a_path(receiver: Receiver, uid: str) -> None:
    before = {path.name for path in receiver.spool.root.iterdir()}
    with TinyScu(receiver.port) as scu:
        assert scu.store(TinyInstance(uid, GOOD.data)) == 0x0117
        assert scu.store(GOOD) == 0
        scu.release()
    assert {path.name for path in receiver.spool.root.iterdir()} == before
    assert len(spool_files(data_of(receiver))) == 1


def send_command(scu: TinyScu, fields: list[tuple[int, bytes]], data: bytes = b"") -> int:
    raw = tiny_scu.data_pdus(1, tiny_scu.command_set(fields), command=True)
    scu.socket.sendall(raw + (tiny_scu.data_pdus(1, data, command=False) if data else b""))
    return scu._status()


def fields_of(sop_class: bytes, data_set_type: int) -> list[tuple[int, bytes]]:
    numbers = {0x0100: 1, 0x0110: 9, 0x0700: 0, 0x0800: data_set_type}
    fields = [(number, struct.pack("<H", value)) for number, value in numbers.items()]
    return [(0x0002, sop_class), *fields, (0x1000, b"2.25.1.1.1.1")]


@pytest.mark.parametrize("sop_class", [b"", b"../../etc/", b"nonsense"])
def test_a_hostile_class_uid_in_the_command_is_refused(receiver: Receiver, sop_class: bytes) -> None:
    with TinyScu(receiver.port) as scu:
        assert send_command(scu, fields_of(sop_class, 1), GOOD.data) == 0x0122
        assert scu.store(GOOD) == 0


def test_a_store_without_a_data_set_is_refused(receiver: Receiver) -> None:
    with TinyScu(receiver.port) as scu:
        assert send_command(scu, fields_of(SECONDARY_CAPTURE.encode() + b"\0", 0x0101)) == 0xC002
        assert scu.store(GOOD) == 0


def test_an_operation_that_nobody_does_here_is_answered_and_the_association_goes_on(receiver: Receiver) -> None:
    with TinyScu(receiver.port) as scu:
        find = [(number, struct.pack("<H", value)) for number, value in ((0x0100, 0x20), (0x0110, 3), (0x0800, 1))]
        assert send_command(scu, find, GOOD.data) == 0x0211
        assert scu.store(GOOD) == 0


@pytest.mark.parametrize(
    "nonsense",
    [
        pytest.param(b"\x63\x00\x00\x00\x00\x04????", id="unknown type"),
        pytest.param(struct.pack(">BBL", 4, 0, 1 << 31), id="a PDU of two gigabytes"),
        pytest.param(struct.pack(">BBLLBB", 4, 0, 6, 1 << 31, 1, 3), id="a fragment of two gigabytes"),
        pytest.param(tiny_scu.data_pdus(1, b"no command set", command=True), id="no command set"),
        pytest.param(tiny_scu.data_pdus(77, tiny_scu.echo_request(), command=True), id="unknown context"),
        pytest.param(tiny_scu.data_pdus(1, b"data", command=False), id="data without a command"),
        pytest.param(struct.pack(">BBL", 2, 0, 4) + bytes(4), id="an accept from a requestor"),
    ],
)
def test_nonsense_in_an_association_is_answered_with_an_abort_and_what_was_stored_stays(
    receiver: Receiver, nonsense: bytes
) -> None:
    with TinyScu(receiver.port) as scu:
        assert scu.store(GOOD) == 0
        scu.socket.sendall(nonsense)
        kind, body = scu._read_pdu()
        assert (kind, body[2]) == (7, 2)  # A-ABORT by the service provider
        assert scu.socket.recv(1) == b""
    wait_for(lambda: receiver.associations == 0, "the association is over")
    assert len(spool_files(data_of(receiver))) == 1
    with TinyScu(receiver.port) as scu:
        assert scu.echo() == 0


@pytest.mark.parametrize("calling", [b"NOBODY", b"", b"../../x", b"\\\\share", b"<b>x</b>", b"\x1b[31m", b"T\xcbST"])
def test_an_unknown_caller_is_rejected_and_noted_only_when_it_may_be_a_device(
    receiver: Receiver, calling: bytes
) -> None:
    with pytest.raises(AssociationRefusedError, match="0x3"):
        TinyScu(receiver.port, calling=calling)
    noted = {name for (name,) in rows(data_of(receiver), "SELECT calling_ae FROM device")}
    legal = calling.decode("latin-1").isascii() and calling.isascii() and b"\\" not in calling and calling.isalnum()
    assert noted == ({calling.decode()} if legal or calling in {b"../../x", b"<b>x</b>"} else set())


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Receiver, Path]]:
    path = tmp_path_factory.mktemp("fuzz") / "unit"
    with receiving(unit_config(path, accept_deflated=True)) as started:
        yield started, path


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), syntax=st.sampled_from([EXPLICIT_LITTLE, IMPLICIT, DEFLATED, "1.2.840.10008.1.2.2"]))
def test_any_damage_is_taken_or_refused_and_leaves_only_files_with_rows(
    shared: tuple[Receiver, Path], data: st.DataObject, syntax: str
) -> None:
    receiver, path = shared
    body = bytearray(tiny_instances.make(1, data.draw(st.integers(1, 4))).data)
    for _ in range(data.draw(st.integers(0, 5))):
        at = data.draw(st.integers(0, len(body) - 1))
        piece = data.draw(st.binary(max_size=8))
        body[at : at + data.draw(st.integers(0, 8))] = piece
    body = body[: data.draw(st.integers(1, len(body)))] if data.draw(st.booleans()) else body
    instance = replace(tiny_instances.make(1, 1), data=bytes(body), transfer_syntax_uid=syntax)
    with TinyScu(receiver.port, contexts=((SECONDARY_CAPTURE, syntax),)) as scu:
        assert scu.store(instance) in {0, 0xC000, 0xC001, 0xA900}
        scu.release()
    assert spool_files(path) == sorted(file for (file,) in rows(path, "SELECT file FROM instance"))
    assert {entry.name for entry in path.parent.iterdir()} == {path.name}
