"""Command sets against pydicom's codec in both directions, and against any bytes."""

from __future__ import annotations

import struct
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset
from pynetdicom.dsutils import decode as pydicom_decode
from pynetdicom.dsutils import encode as pydicom_encode

from appliance.dimse import command
from appliance.dimse.command import CommandSet, Element, Field, Value
from appliance.dimse.status import Status
from appliance.errors import UpperLayerError

UIDS = st.from_regex(r"1\.2(\.(0|[1-9][0-9]{0,6})){1,6}", fullmatch=True)
NUMBERS = st.integers(0, 0xFFFF)
AE_TITLES = st.from_regex(r"[A-Z0-9]{1,16}", fullmatch=True)
TEXT_ELEMENTS = {
    Element.MOVE_DESTINATION: AE_TITLES,
    Element.ERROR_COMMENT: AE_TITLES,
    Element.MOVE_ORIGINATOR_AE_TITLE: AE_TITLES,
    Element.AFFECTED_SOP_CLASS_UID: UIDS,
    Element.REQUESTED_SOP_CLASS_UID: UIDS,
    Element.AFFECTED_SOP_INSTANCE_UID: UIDS,
    Element.REQUESTED_SOP_INSTANCE_UID: UIDS,
}
TAGS = st.lists(st.integers(0, 0xFFFFFFFF), min_size=2, max_size=4).map(tuple)


def strategy_of(element: Element) -> st.SearchStrategy[Value]:
    """Values that the element may have."""
    if element in TEXT_ELEMENTS:
        return TEXT_ELEMENTS[element]
    if element in {Element.OFFENDING_ELEMENT, Element.ATTRIBUTE_IDENTIFIER_LIST}:
        return TAGS
    return NUMBERS


NEEDED = {Element.COMMAND_FIELD: NUMBERS, Element.DATA_SET_TYPE: NUMBERS}
OTHERS = {e: strategy_of(e) for e in Element if e not in NEEDED and e is not Element.GROUP_LENGTH}
COMMANDS = st.fixed_dictionaries(NEEDED, optional=OTHERS).map(CommandSet)


@given(COMMANDS)
def test_every_command_set_comes_back_as_it_was(commands: CommandSet) -> None:
    assert command.decode(command.encode(commands)) == commands


@given(COMMANDS)
def test_pydicom_reads_what_we_write_and_writes_it_the_same(commands: CommandSet) -> None:
    ours = command.encode(commands)
    theirs = pydicom_decode(BytesIO(ours), True, True)
    assert {element.tag.element: _value(element.value) for element in theirs if element.tag != 0} == commands.values
    assert theirs[0x00000000].value == len(ours) - 12
    assert pydicom_encode(theirs, True, True) == ours


def _value(value: object) -> object:
    return value if isinstance(value, int | str) else tuple(int(tag) for tag in value)  # type: ignore[attr-defined]


@given(st.binary(max_size=300))
def test_any_bytes_are_a_command_set_or_our_error(data: bytes) -> None:
    try:
        command.decode(data)
    except UpperLayerError:
        return


@given(COMMANDS, st.data())
def test_a_damaged_command_set_is_one_or_our_error(commands: CommandSet, data: st.DataObject) -> None:
    raw = bytearray(command.encode(commands))
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        command.decode(raw[: data.draw(st.integers(0, len(raw)))])
    except UpperLayerError:
        return


def element(number: int, value: bytes, group: int = 0) -> bytes:
    return struct.pack("<HHL", group, number, len(value)) + value


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "lacks"),
        (element(0x0100, b"\x30\x00"), "lacks"),
        (element(0x0100, b"\x30\x00") * 2, "twice"),
        (element(0x0100, b"\x30\x00\x00"), "not 2"),
        (element(0x0100, b"\x30\x00", group=8), "group 0008"),
        (struct.pack("<HHL", 0, 0x1000, 1 << 31), "claims"),
        (b"\x00\x00\x00", "inside the head"),
        (element(0x0901, b"\x30\x00"), "list of tags"),
        (bytes((1 << 16) + 1), "over the limit"),
    ],
)
def test_what_is_no_command_set_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(UpperLayerError, match=why):
        command.decode(data)


def test_a_uid_of_ten_thousand_bytes_arrives_for_the_service_to_judge() -> None:
    values: dict[int, Value] = {Element.COMMAND_FIELD: 1, Element.DATA_SET_TYPE: 1}
    values[Element.AFFECTED_SOP_INSTANCE_UID] = "../" * 3334
    assert command.decode(command.encode(CommandSet(values))).text(Element.AFFECTED_SOP_INSTANCE_UID) == "../" * 3334


def test_a_response_repeats_message_id_and_uids_and_says_that_no_data_set_follows() -> None:
    request = Dataset()
    request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = "1.2.3", "1.2.3.4"
    request.CommandField, request.MessageID, request.CommandDataSetType = 0x0001, 77, 1
    raw = pydicom_encode(request, True, True)
    assert raw is not None
    answer = command.response(command.decode(raw), Status.OUT_OF_RESOURCES, "x" * 100)
    theirs = pydicom_decode(BytesIO(command.encode(answer)), True, True)
    assert theirs.CommandField == Field.C_STORE | command.RESPONSE
    assert theirs.MessageIDBeingRespondedTo == 77
    assert theirs.CommandDataSetType == command.NO_DATA_SET
    assert (theirs.AffectedSOPClassUID, theirs.AffectedSOPInstanceUID) == ("1.2.3", "1.2.3.4")
    assert theirs.Status == 0xA700
    assert theirs.ErrorComment == "x" * 64


def test_a_response_does_not_repeat_a_uid_that_is_none() -> None:
    values: dict[int, Value] = {Element.COMMAND_FIELD: 1, Element.DATA_SET_TYPE: 1, Element.MESSAGE_ID: 1}
    values[Element.AFFECTED_SOP_INSTANCE_UID] = "../" * 3334
    answer = command.response(CommandSet(values), Status.INVALID_OBJECT_INSTANCE)
    assert Element.AFFECTED_SOP_INSTANCE_UID not in answer.values
