"""Leases: one who makes, others who wait, and what becomes of those that end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support import filed

from appliance.hub.index.database import Index
from appliance.hub.renditions import rows
from appliance.hub.renditions.rows import AGAIN_MS, LEASE_MS, Busy, Failed, Kept, Lease
from appliance.hub.renditions.values import Reason
from appliance.part10.transfer_syntax import EXPLICIT_LITTLE, IMPLICIT_LITTLE

NOW = 1_000_000_000_000


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    opened = filed.new_index(tmp_path / "hub", "a")
    filed.file(opened, "a", *(filed.header(number=number) for number in (1, 2, 3)))
    yield opened
    opened.close()


def take(index: Index, instance: int = 1, now: int = NOW, uid: str = EXPLICIT_LITTLE) -> rows.Answer:
    with index.write() as connection:
        return rows.take(connection, instance, uid, "me", now)


def lease(index: Index, instance: int = 1, now: int = NOW) -> Lease:
    taken = take(index, instance, now)
    assert isinstance(taken, Lease)
    return taken


def keep(index: Index, instance: int, size: int, now: int) -> Lease:
    taken = lease(index, instance, now)
    with index.write() as connection:
        assert rows.settle(connection, taken, bytes(32), size, now)
    return taken


def spent(index: Index) -> list[str]:
    with index.read() as connection:
        return rows.spent(connection, 100)


def test_the_second_who_asks_waits_and_then_gets_what_the_first_made(index: Index) -> None:
    mine = lease(index)
    assert isinstance(take(index, now=NOW + LEASE_MS - 1), Busy)
    with index.write() as connection:
        assert rows.settle(connection, mine, bytes(32), 10, NOW)
    assert take(index) == Kept(EXPLICIT_LITTLE, mine.key, bytes(32), 10)


def test_each_form_of_an_instance_has_a_lease_of_its_own(index: Index) -> None:
    lease(index)
    assert isinstance(take(index, uid=IMPLICIT_LITTLE), Lease)
    assert isinstance(take(index, instance=2), Lease)


def test_a_lease_that_ended_goes_to_who_asks_next_and_its_key_is_to_be_removed(index: Index) -> None:
    dead = lease(index)
    mine = lease(index, now=NOW + LEASE_MS)
    assert mine.key != dead.key
    assert spent(index) == [dead.key]


def test_one_who_wakes_up_after_the_end_of_its_lease_changes_nothing(index: Index) -> None:
    late = lease(index)
    mine = lease(index, now=NOW + LEASE_MS)
    with index.write() as connection:
        assert not rows.keep(connection, late, NOW)
        assert not rows.settle(connection, late, bytes(32), 10, NOW)
        rows.fail(connection, late, Reason.DAMAGED, NOW)
        rows.release(connection, late)
    assert isinstance(take(index, now=NOW + LEASE_MS), Busy)
    with index.write() as connection:
        assert rows.settle(connection, mine, bytes(32), 10, NOW)
    assert spent(index) == [late.key]


def test_a_lease_that_is_kept_goes_on(index: Index) -> None:
    mine = lease(index)
    with index.write() as connection:
        assert rows.keep(connection, mine, NOW + LEASE_MS - 1)
    assert isinstance(take(index, now=NOW + LEASE_MS + 1), Busy)


def test_a_lease_from_a_clock_that_was_years_ahead_is_none(index: Index) -> None:
    lease(index, now=NOW + 365 * AGAIN_MS)
    assert isinstance(take(index), Lease)


def test_a_failure_is_known_to_all_who_ask_and_tried_again_after_a_day(index: Index) -> None:
    mine = lease(index)
    with index.write() as connection:
        rows.fail(connection, mine, Reason.NO_DECODER, NOW)
    assert take(index, now=NOW + AGAIN_MS - 1) == Failed(Reason.NO_DECODER)
    assert isinstance(take(index, now=NOW + AGAIN_MS), Lease)


def test_a_failure_of_an_older_release_is_tried_again(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = lease(index)
    with index.write() as connection:
        rows.fail(connection, mine, Reason.NO_DECODER, NOW)
    monkeypatch.setattr(rows, "MAKER", rows.MAKER + 1)
    assert isinstance(take(index), Lease)


def test_a_lease_that_is_given_back_is_free_at_once(index: Index) -> None:
    mine = lease(index)
    with index.write() as connection:
        rows.release(connection, mine)
    assert isinstance(take(index), Lease)


def test_those_used_longest_ago_go_first_and_no_more_of_them_than_must(index: Index) -> None:
    first, second, third = (keep(index, number, 100, NOW + number) for number in (1, 2, 3))
    with index.write() as connection:
        rows.touch(connection, Kept(EXPLICIT_LITTLE, first.key, bytes(32), 100), NOW + 10)
        rows.make_room(connection, 200)
        assert rows.kept_bytes(connection) == 200
    assert spent(index) == [second.key]
    with index.write() as connection:
        rows.make_room(connection, 150)
    assert set(spent(index)) == {second.key, third.key}


def test_what_a_dead_process_was_making_is_given_up(index: Index) -> None:
    dead, alive = lease(index, 1), lease(index, 2, NOW + LEASE_MS)
    with index.write() as connection:
        rows.give_up_ended(connection, NOW + LEASE_MS)
    assert spent(index) == [dead.key]
    with index.write() as connection:
        assert rows.keep(connection, alive, NOW)


def test_a_key_is_spent_once_and_forgotten_when_its_object_is_gone(index: Index) -> None:
    with index.write() as connection:
        for _ in range(2):
            rows.spend(connection, "some key")
    assert spent(index) == ["some key"]
    with index.write() as connection:
        rows.removed(connection, ["some key"])
    assert spent(index) == []


def test_the_kept_form_that_the_peer_likes_best_is_found(index: Index) -> None:
    keep(index, 1, 10, NOW)
    with index.read() as connection:
        found = rows.kept_of(connection, 1, [IMPLICIT_LITTLE, EXPLICIT_LITTLE])
        assert found
        assert found.transfer_syntax_uid == EXPLICIT_LITTLE
        assert rows.kept_of(connection, 1, [IMPLICIT_LITTLE]) is None
        assert rows.was_used(connection, found, NOW)
        assert not rows.was_used(connection, found, NOW + rows.USED_MS)
