"""What goes onto a stick that is too small for all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from appliance.courier.cipher import sealed_bytes_max
from appliance.courier.plan import Item, file_cost, fit, list_cost
from appliance.model.priority import Priority

BLOCK = 4096


def item(number: int, size: int, priority: Priority = Priority.ROUTINE) -> Item:
    return Item(parcel=f"{number:064x}", bytes=size, path=Path("x"), study=f"1.{number}", priority=priority)


def decide(items: list[Item], there: set[str] | None = None, **values: Any) -> Any:
    given = {"room": 1 << 40, "block": BLOCK, "most": None, "files": 1000}
    return fit(items, there or set(), **(given | values))


def room_for(*items: Item, of: int) -> int:
    """Exactly what these cost, in a plan of `of` parcels."""
    return list_cost(of, of, BLOCK) + sum(file_cost(sealed_bytes_max(one.bytes), BLOCK) for one in items)


def test_all_goes_when_there_is_room() -> None:
    items = [item(n, 100_000) for n in range(5)]
    assert decide(items).take == tuple(items)


def test_the_most_urgent_has_the_room() -> None:
    items = [item(1, 50_000, Priority.STAT), item(2, 50_000), item(3, 50_000)]
    plan = decide(items, room=room_for(*items[:2], of=3))
    assert (plan.take, plan.leave) == (tuple(items[:2]), (items[2],))
    assert decide(items, room=room_for(*items[:2], of=3) - 1).take == (items[0],)


def test_a_small_one_goes_where_a_large_one_before_it_has_no_room() -> None:
    items = [item(1, 10_000_000, Priority.STAT), item(2, 5_000)]
    plan = decide(items, room=room_for(items[1], of=2))
    assert (plan.take, plan.leave) == ((items[1],), (items[0],))


def test_what_is_on_the_stick_costs_nothing_again_but_counts_in_the_limit() -> None:
    items = [item(n, 1000) for n in range(4)]
    there = {items[0].parcel, items[1].parcel}
    plan = decide(items, there, most=3000)
    assert (plan.there, plan.take, plan.leave) == (tuple(items[:2]), (items[2],), (items[3],))


def test_a_list_has_an_end() -> None:
    items = [item(n, 1000) for n in range(4)]
    assert len(decide(items, files=3).take) == 3
    assert decide(items, {items[0].parcel, "f" * 64}, files=3).take == (items[1],)


@given(st.lists(st.integers(1, 10_000_000), max_size=30), st.integers(0, 100_000_000), st.sampled_from([512, 32768]))
def test_no_plan_takes_more_than_there_is_and_none_forgets_a_parcel(sizes: list[int], room: int, block: int) -> None:
    items = [item(n, size) for n, size in enumerate(sizes)]
    plan = decide(items, room=room, block=block)
    assert sorted(plan.take + plan.leave, key=lambda one: one.parcel) == items
    used = sum(file_cost(sealed_bytes_max(one.bytes), block) for one in plan.take)
    assert not plan.take or used + list_cost(len(items), len(items), block) <= room
