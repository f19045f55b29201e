"""Who gets a connection: no address has more than its share, and who comes anew gets in while another only waits."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from appliance.webui.crowd import IN_ALL, PER_ADDRESS, Admission, Connection, admit


def one(number: int, address: str, heard_at: float = 0.0, *, busy: bool = False) -> Connection:
    return Connection(number=number, address=address, heard_at=heard_at, busy=busy)


def test_the_first_gets_in() -> None:
    assert admit([], "a") == Admission(True)


def test_beyond_its_share_an_address_loses_its_own_longest_silent_connection() -> None:
    held = [one(number, "a", heard_at=100.0 - number) for number in range(PER_ADDRESS)]
    assert admit([*held, one(99, "b", heard_at=-1.0)], "a") == Admission(True, PER_ADDRESS - 1)
    assert admit(held[1:], "a") == Admission(True)


def test_a_connection_whose_request_is_answered_is_never_closed() -> None:
    busy = [one(number, "a", busy=True) for number in range(PER_ADDRESS)]
    assert admit(busy, "a") == Admission(False)
    assert admit([*busy[1:], one(99, "a", heard_at=50.0)], "a") == Admission(True, 99)


def test_when_all_places_are_taken_the_address_with_most_makes_room() -> None:
    few = [one(number, f"few {number // 2}", heard_at=0.0) for number in range(IN_ALL - 10)]
    most = [one(1000 + number, "most", heard_at=9.0 - number) for number in range(10)]
    assert admit(few + most, "new") == Admission(True, 1009)


crowds = st.lists(
    st.tuples(st.sampled_from("abcdefghij"), st.booleans(), st.floats(0, 100)), max_size=2 * IN_ALL, min_size=IN_ALL
)


@given(crowds)
def test_no_crowd_goes_beyond_the_ceilings_nor_keeps_anybody_out_who_is_alone(
    arrivals: list[tuple[str, bool, float]],
) -> None:
    open_ones: dict[int, Connection] = {}
    for number, (address, busy, heard_at) in enumerate([*arrivals, ("alone", False, 0.0)]):
        admission = admit(list(open_ones.values()), address)
        if admission.closed is not None:
            assert not open_ones.pop(admission.closed).busy
        if admission.admitted:
            open_ones[number] = one(number, address, heard_at, busy=busy)
        shares = Counter(connection.address for connection in open_ones.values())
        assert max(shares.values()) <= PER_ADDRESS
        assert len(open_ones) <= IN_ALL
    most = max(shares.values())
    if any(not c.busy for c in open_ones.values() if shares[c.address] == most):
        assert shares["alone"] == 1
