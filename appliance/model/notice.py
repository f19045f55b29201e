"""What a unit tells the hub of a study before it is there, and what the hub wishes of it. The wire form is JSON.

A notice is for people: it says what to expect. Nothing is filed from it, and nothing in it is proved. A wish changes
the order in which a unit sends, or lets the rest of a study stay there for now; it never makes anything lost.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from appliance.model.receipt import Count

NOTICE_BYTES_MAX: Final = 256 << 10
SERIES_MAX: Final = 500  # of a notice; a study with more names the first so many
WISHES_MAX: Final = 200  # of one answer; the next question brings the others

Time = Annotated[int, Meta(ge=0, le=1 << 47)]  # Unix milliseconds that a calendar has
Uid = Annotated[str, Meta(pattern=r"^[0-9][0-9.]{0,63}$")]
Text = Annotated[str, Meta(max_length=256)]
Question = Annotated[str, Meta(max_length=4096)]
SeriesName = Annotated[str, Meta(max_length=64)]
PriorityWord = Literal["stat", "urgent", "routine", "prior"]


class SeriesNotice(msgspec.Struct, frozen=True, kw_only=True):
    """A series of a study at the unit. `instances`: how many came from the modality so far."""

    series_instance_uid: Uid
    modality: Text = ""
    body_part: Text = ""
    series_description: Text = ""
    series_number: Text = ""
    instances: Count = 0


class StudyNotice(msgspec.Struct, frozen=True, kw_only=True):
    """The body of `PUT /v1/studies/UID`. Texts are the modality's; times are Unix milliseconds by the unit's clock."""

    study_instance_uid: Uid
    patient_name: Text = ""
    patient_id: Text = ""
    issuer_of_patient_id: Text = ""
    patient_birth_date: Text = ""
    patient_sex: Text = ""
    accession_number: Text = ""
    study_description: Text = ""
    study_date: Text = ""
    study_time: Text = ""
    referring_physician: Text = ""
    question: Question = ""  # the clinical question, when there is one
    priority: PriorityWord = "routine"
    first_received_at: Time
    last_received_at: Time
    instances: Count  # that came from the modality so far; more may come
    delivered: Count = 0  # of these, the ones that the hub gave receipts for
    bytes_to_send: Count = 0  # of what is packed, as it will be on the wire
    series: Annotated[list[SeriesNotice], Meta(max_length=SERIES_MAX)] = []
    eta: tuple[Time, Time] | None = None  # when all that came is likely to be at the hub: not before, and before


class WishKind(StrEnum):
    """What the hub may wish of a study, or of one series."""

    FIRST = "first"  # send it before others of its priority
    ENOUGH = "enough"  # the hub has enough: the rest stays at the unit
    ALL = "all"  # send the rest; as if nothing had been wished


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """One wish. The newest that concerns a series decides about it; `id` rises."""

    id: Count
    study_instance_uid: Uid
    series: SeriesName = ""  # a Series Instance UID or a series number; empty: the whole study
    kind: WishKind
    at: Time  # by the hub's clock


class Wishes(msgspec.Struct, frozen=True, kw_only=True):
    """The hub's answer to `GET /v1/wishes`. `latest`: the id of the last wish for this site; 0: there was none."""

    wishes: Annotated[list[Wish], Meta(max_length=WISHES_MAX)] = []
    latest: Count = 0
