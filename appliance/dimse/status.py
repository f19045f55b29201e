"""DIMSE statuses that this box answers, each with its clause. 0x0000 is said only of what is durable."""

from __future__ import annotations

from enum import IntEnum


class Status(IntEnum):
    """PS3.7 annex C for all services; PS3.4 B.2.3 (table B.2-1) for C-STORE."""

    SUCCESS = 0x0000  # PS3.7 C.1
    # PS3.7 C.5 for DIMSE-N; some of them are failure reasons of storage commitment, too (PS3.3 C.14.1.1).
    INVALID_ATTRIBUTE_VALUE = 0x0106
    PROCESSING_FAILURE = 0x0110
    DUPLICATE_SOP_INSTANCE = 0x0111
    NO_SUCH_OBJECT_INSTANCE = 0x0112
    INVALID_ARGUMENT_VALUE = 0x0115
    NO_SUCH_SOP_CLASS = 0x0118
    CLASS_INSTANCE_CONFLICT = 0x0119
    MISSING_ATTRIBUTE = 0x0120
    MISSING_ATTRIBUTE_VALUE = 0x0121
    NO_SUCH_ACTION = 0x0123
    RESOURCE_LIMITATION = 0x0213
    INVALID_OBJECT_INSTANCE = 0x0117  # PS3.7 C.5: the SOP Instance UID breaks the rules for UIDs
    SOP_CLASS_NOT_SUPPORTED = 0x0122  # PS3.7 C.5
    UNRECOGNIZED_OPERATION = 0x0211  # PS3.7 C.5
    OUT_OF_RESOURCES = 0xA700  # PS3.4 B.2.3, A7xx: disk nearly full, database not writable, object too large
    DOES_NOT_MATCH_SOP_CLASS = 0xA900  # PS3.4 B.2.3, A9xx: the data set is of another class than the command says
    CANNOT_UNDERSTAND = 0xC000  # PS3.4 B.2.3, Cxxx: the data set can't be identified
    DOES_NOT_MATCH_SOP_INSTANCE = 0xC001  # PS3.4 B.2.3, Cxxx: its SOP Instance UID is not that of the command
    NO_DATA_SET = 0xC002  # PS3.4 B.2.3, Cxxx: the command says that no data set follows
    # PS3.4 C.4.1.1.4 (table C.4-1) for C-FIND; A700 and Cxxx as above.
    IDENTIFIER_DOES_NOT_MATCH = 0xA900  # the level is none of the model, or a unique key above it is missing
    MALFORMED_KEY = 0xC001  # a value breaks the rules of its VR
    CANCEL = 0xFE00
    PENDING = 0xFF00
    PENDING_WARNING = 0xFF01  # some optional keys were not matched
