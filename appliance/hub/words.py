"""Studies in a terminal: values in, text out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from appliance import terminal
from appliance.hub.index.studies import SeriesFacts, StudyFacts
from appliance.model.notice import Wish, WishKind

_NAME_WIDTH: Final = 32


def printable(text: str) -> str:
    """The text without what a terminal would obey."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def study_table(found: Sequence[StudyFacts], now: int) -> str:
    """A line a study."""
    head = ("last news (UTC)", "patient", "patient ID", "kind", "images", "size", "priority", "site", "", "study UID")
    return terminal.table(head, [_row(one, now) for one in found], right=frozenset({4, 5}))


def _row(one: StudyFacts, now: int) -> tuple[str, ...]:
    return (
        terminal.moment(one.last_held_at or one.announced_at or 0, now),
        printable(one.patient_name)[:_NAME_WIDTH],
        printable(one.patient_id)[:_NAME_WIDTH],
        printable("/".join(one.modalities)),
        _count(one.instances, one.announced),
        terminal.size(one.bytes),
        one.priority,
        ", ".join(one.sites),
        "!" if one.conflicts or one.identity_conflict else "",
        one.study_instance_uid,
    )


def study_lines(one: StudyFacts, series: Sequence[SeriesFacts], now: int) -> Iterator[str]:
    """The facts of a study, what needs a look, and its series as a table."""
    facts = {
        "Study UID": one.study_instance_uid,
        "Patient": f"{one.patient_name}  ({one.patient_id})",
        "Born, sex": f"{one.patient_birth_date}  {one.patient_sex}",
        "Study": f"{one.study_description}  {one.study_date} {one.study_time}",
        "Accession": one.accession_number,
        "Referred by": one.referring_physician,
        "Priority": one.priority,
        "Sites": ", ".join(one.sites),
        "Question": one.question,
        "Held": _held(one, now),
        "Size": f"{_count(one.instances, one.announced)} images in {one.series} series, {terminal.size(one.bytes)}",
        "Expected": _expected(one, now),
        "Previews": f"{one.previews}, not for diagnosis" if one.previews else "none",
    }
    for name, value in facts.items():
        yield f"{name + ':':<13}{printable(value).strip()}".rstrip()
    yield from _warnings(one)
    yield ""
    head = ("series", "kind", "description", "images", "size")
    yield terminal.table(head, [_series_row(each) for each in series], right=frozenset({3, 4}))


def _count(here: int, announced: int | None) -> str:
    """How many are here, and of how many when more are to come."""
    return f"{here} of {announced}" if announced is not None and announced > here else str(here)


def _held(one: StudyFacts, now: int) -> str:
    if not one.last_held_at:
        return "nothing yet"
    return f"{terminal.moment(one.first_held_at, now)} to {terminal.moment(one.last_held_at, now)} UTC"


def _expected(one: StudyFacts, now: int) -> str:
    """When the rest is likely to be here; the site's own estimate."""
    if one.expected is None:
        return ""
    return f"between {terminal.moment(one.expected[0], now)} and {terminal.moment(one.expected[1], now)} UTC"


_WISHED: Final = {
    WishKind.FIRST: "first",
    WishKind.ENOUGH: "enough, the rest stays at the site",
    WishKind.ALL: "the rest, too",
}


def wish_lines(wished: Sequence[Wish], now: int) -> Iterator[str]:
    """What was wished of the study, the oldest first."""
    for each in wished:
        what = f"series {printable(each.series)}" if each.series else "the study"
        yield f"Wished:      {terminal.moment(each.at, now)} UTC: {what}: {_WISHED[each.kind]}"


def _warnings(one: StudyFacts) -> Iterator[str]:
    if one.conflicts:
        yield f"Look:        {one.conflicts} images share a UID with other content; all are kept. See --json, conflict."
    if one.identity_conflict:
        yield "Look:        images came under this study UID with other patient data. Ask the site which is right."


def _series_row(each: SeriesFacts) -> tuple[str, ...]:
    size = terminal.size(sum(instance.bytes for instance in each.instances))
    words = (each.series_number, each.modality, each.series_description)
    return (*(printable(word) for word in words), _count(len(each.instances), each.announced), size)
