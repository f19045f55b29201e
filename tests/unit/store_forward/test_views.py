"""What the page reads of the queue."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.ward import HOUR, MINUTE, Ward, busy_morning

from appliance.model.help import Disk
from appliance.model.priority import Priority
from appliance.model.status import StudyState
from appliance.store_forward import views
from appliance.store_forward.views import Filter

NOW = 1_795_492_800_000


@pytest.fixture
def ward(tmp_path: Path) -> Iterator[Ward]:
    ward = Ward(tmp_path, NOW)
    ward.beats()
    yield ward
    ward.close()


def names(ward: Ward, **wanted: object) -> list[str]:
    found, _ = views.list_studies(ward.db, Filter(**wanted), NOW)  # type: ignore[arg-type]
    return [line.patient_name.split("^")[0] for line in found]


def test_an_empty_box_has_an_empty_list(ward: Ward) -> None:
    assert views.list_studies(ward.db, Filter(), NOW) == ([], False)
    assert views.find_study(ward.db, 1, NOW) is None
    assert views.read_modalities(ward.db) == []


def test_every_state_of_a_busy_morning_is_seen(ward: Ward) -> None:
    ids = busy_morning(ward)
    found, more = views.list_studies(ward.db, Filter(), NOW)
    states = {line.id: line.status.state for line in found}
    assert {states[study_id].name.lower() for study_id in ids.values()} == set(ids)
    assert all(states[study_id].name.lower() == name for name, study_id in ids.items())
    assert not more


def test_studies_are_newest_first_and_pages_leave_none_out(ward: Ward) -> None:
    made = [ward.study(f"P{n}", str(n), images=1, came=NOW - (n // 2) * MINUTE) for n in range(11)]
    seen: list[int] = []
    wanted = Filter(limit=4)
    while True:
        found, more = views.list_studies(ward.db, wanted, NOW)
        seen += [line.id for line in found]
        if not more:
            break
        wanted = Filter(limit=4, before=(found[-1].last_received_at, found[-1].id))
    assert sorted(seen) == sorted(made)
    assert len(seen) == 11


def test_filters_by_state(ward: Ward) -> None:
    busy_morning(ward)
    assert names(ward, state="needs_help") == ["MWALE"]
    assert names(ward, state="at_hub") == ["CHIRWA", "BANDA", "PHIRI", "KACHALE"]
    assert names(ward, state="under_way") == ["TEMBO", "KAMANGA", "GONDWE", "NYIRENDA", "MWALE"]
    assert len(names(ward)) == 9


def test_a_filtered_state_is_the_state_that_is_shown(ward: Ward) -> None:
    busy_morning(ward)
    for state, shown in (("at_hub", StudyState.AT_HUB), ("needs_help", StudyState.NEEDS_HELP)):
        found, _ = views.list_studies(ward.db, Filter(state=state), NOW)
        assert {line.status.state for line in found} == {shown}


def test_search_finds_beginnings_of_words_without_case_or_accents(ward: Ward) -> None:
    ward.study("MÜLLER^ÉLODIE", "MG-0042")
    ward.study("BANDA^GRACE", "MG-4431")
    assert names(ward, text="mull") == ["MÜLLER"]
    assert names(ward, text="elodie muller") == ["MÜLLER"]
    assert names(ward, text="mg-44") == ["BANDA"]
    assert names(ward, text="A2602") == ["BANDA"]
    assert names(ward, text="grace elodie") == []


def test_search_follows_a_study_that_is_renamed(ward: Ward) -> None:
    study = ward.study("BANDA^GRACE", "MG-4431")
    ward.db.execute("UPDATE study SET patient_name = 'PHIRI^GRACE' WHERE id = ?", (study,))
    assert names(ward, text="banda") == []
    assert names(ward, text="phiri") == ["PHIRI"]


@pytest.fixture(scope="module")
def quiet_ward(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ward]:
    ward = Ward(tmp_path_factory.mktemp("ward"), NOW)
    ward.study("BANDA^GRACE", "MG-4431")
    yield ward
    ward.close()


@given(text=st.text(max_size=40))
@example(text='" OR 1 --')
@example(text="NEAR(a b) *")
@example(text="patient_name:banda")
def test_what_is_typed_is_never_syntax(text: str, quiet_ward: Ward) -> None:
    found, _ = views.list_studies(quiet_ward.db, Filter(text=text), NOW)
    assert len(found) <= 1


def test_filters_by_modality_and_day(ward: Ward) -> None:
    busy_morning(ward)
    assert names(ward, modality="CT") == ["KAMANGA"]
    assert names(ward, modality="US") == ["TEMBO", "PHIRI"]
    assert names(ward, until_at=NOW - 12 * HOUR) == ["PHIRI", "KACHALE"]
    assert names(ward, modality="CT", until_at=NOW - 12 * HOUR) == []
    assert views.read_modalities(ward.db) == ["CR", "CT", "DX", "US"]


def test_progress_is_counted_on_the_wire(ward: Ward) -> None:
    study = ward.study("A", "1", images=4, image_bytes=3000)
    parcel = ward.pack(study)
    ward.send(parcel, 0.5)
    ward.line(up=True, since=NOW)
    page = views.find_study(ward.db, study, NOW)
    assert page is not None
    line = page.line
    assert (line.bytes, line.wire_bytes, line.wire_data_bytes) == (12000, 4000, 12000)
    assert (line.status.percent, line.status.bytes_to_go) == (50, 2000)


def test_progress_shows_what_tcp_acknowledged_since_the_last_offset(ward: Ward) -> None:
    study = ward.study("A", "1", images=4, image_bytes=3000)
    parcel = ward.pack(study)
    ward.send(parcel, 0.25)
    ward.db.execute("UPDATE parcel SET progress = 3000 WHERE id = ?", (parcel,))
    page = views.find_study(ward.db, study, NOW)
    assert page is not None
    assert page.line.status.percent == 75


def test_a_stat_study_puts_the_routine_one_behind_it(ward: Ward) -> None:
    ward.line(up=True, since=NOW)
    routine = ward.study("A", "1", came=NOW - HOUR)
    ward.send(ward.pack(routine), 0.5)
    stat = ward.study("B", "2", came=NOW - 30 * MINUTE, priority=Priority.STAT)
    ward.pack(stat)
    found, _ = views.list_studies(ward.db, Filter(), NOW)
    assert [(line.id, line.status.state) for line in found] == [
        (stat, StudyState.ON_ITS_WAY),
        (routine, StudyState.WAITING),
    ]


def test_the_counts_of_the_day(ward: Ward) -> None:
    busy_morning(ward)
    counts = views.read_counts(ward.db, NOW - 2 * HOUR, NOW)
    assert (counts.today, counts.today_at_hub, counts.under_way) == (7, 2, 4)


def test_a_study_whose_last_images_are_kept_back_does_not_count_as_going_by_itself(ward: Ward) -> None:
    study = ward.study("A", "1", images=2)
    ward.quarantine(study, 1, "E403")
    assert views.read_counts(ward.db, 0, NOW).under_way == 1
    ward.deliver(ward.pack(study))
    assert views.read_counts(ward.db, 0, NOW).under_way == 0


def test_the_backlog_is_known_only_when_all_is_packed(ward: Ward) -> None:
    study = ward.study("A", "1", images=2, image_bytes=3000)
    assert views.read_backlog(ward.db) is None
    ward.pack(study)
    assert views.read_backlog(ward.db) == 2000


def test_the_facts_of_the_box(ward: Ward) -> None:
    busy_morning(ward)
    box = views.read_box(ward.db, Disk(10, 5, 1), NOW)
    assert [(s.quarantined, s.reason) for s in box.studies] == [(1, "E403")]
    assert [d.calling_ae for d in box.devices] == ["CT2"]
    assert [(r.calling_ae, r.times) for r in box.refused] == [("OLDUS", 4)]
    assert set(box.beats) == {"receive", "compress", "forward", "web"}
    assert box.line.up


def test_a_study_shows_its_conflicts(ward: Ward) -> None:
    study = ward.study("A", "1", images=3)
    ward.db.execute("UPDATE instance SET conflict = 1 WHERE id IN (?, ?)", ward.images_of(study, "received")[:2])
    page = views.find_study(ward.db, study, NOW)
    assert page is not None
    assert len(page.conflicts) == 2
    assert page.line.status.state is StudyState.NEEDS_HELP


@pytest.mark.parametrize("state", views.STATES)
def test_no_list_ever_walks_through_instances_or_parcels(ward: Ward, state: str) -> None:
    """A million instances must not be felt: what a list reads are a study's counters, and rows found by an index."""
    sql = views._SQL
    queries = [sql[name] for name in sql.names() if not name.startswith("state_") and name != "pick_studies"]
    queries.append(sql["pick_studies"].replace("{state}", sql[f"state_{state}"]))
    for query in queries:
        if query.startswith("SELECT") or query.startswith("WITH"):
            names = dict.fromkeys(re.findall(r"(?<!:):(\w+)", query), 1)
            names |= {"ids": "[1]", "text": '"x"*'}
            plan = [row["detail"] for row in ward.db.execute(f"EXPLAIN QUERY PLAN {query}", names)]
            assert not [step for step in plan if re.match(r"SCAN (i|p|instance|parcel|event)\b", step)], query


def test_what_the_hub_does_not_want_now_has_no_estimate_and_goes_before_nothing(ward: Ward) -> None:
    ward.line(up=True, since=NOW, rate=100.0)
    held, other = (ward.study(name, name, image_bytes=3000, came=NOW - HOUR) for name in "AB")
    parcel = ward.pack(held)
    ward.pack(other)

    def to_go() -> dict[int, int | None]:
        return {line.id: line.status.bytes_to_go for line in views.list_studies(ward.db, Filter(), NOW)[0]}

    before = to_go()
    assert before[other] == 2 * (before[held] or 0) > 0
    ward.db.execute("UPDATE parcel SET held_at = ? WHERE id = ?", (NOW, parcel))
    assert to_go() == {held: None, other: before[held]}
    page = views.find_study(ward.db, held, NOW)
    assert page is not None
    assert (page.line.status.state, page.line.status.kept_here) == (StudyState.WAITING, True)
