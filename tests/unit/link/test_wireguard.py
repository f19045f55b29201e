"""What `wg show` prints, and what is made of it."""

from __future__ import annotations

import contextlib
import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.link.wireguard import (
    UNANSWERED_BYTES,
    Interface,
    Limits,
    Peer,
    Signs,
    Tunnel,
    diagnose,
    judge,
    parse_dump,
    preshared_key,
)
from appliance.model.tunnel import Problem, TunnelState

OURS, HUB, SHARED = ("A" * 42 + f"{end}=" for end in "AEI")
PRIVATE = "B" * 42 + "A="
DUMP = (
    f"{PRIVATE}\t{OURS}\t51820\t0x143d\n"
    f"{HUB}\t{SHARED}\t203.0.113.5:51820\t10.7.0.1/32,fd00::/64\t1700000000\t123\t456\t25\n"
)
LIMITS = Limits(stale=180.0, silent=30.0)
START = 1_700_000_000
UP, STALE, DOWN = TunnelState.UP, TunnelState.STALE, TunnelState.DOWN


def test_a_dump_is_read() -> None:
    assert parse_dump(DUMP) == Interface(
        public_key=OURS,
        mark=0x143D,
        peers=(
            Peer(
                key=HUB,
                endpoint="203.0.113.5:51820",
                allowed=("10.7.0.1/32", "fd00::/64"),
                handshake_at=START,
                received=123,
                sent=456,
                keepalive=25,
            ),
        ),
    )


def test_an_interface_without_key_and_a_peer_without_anything_are_read() -> None:
    read = parse_dump(f"(none)\t(none)\t0\toff\n{HUB}\t(none)\t(none)\t(none)\t0\t0\t0\toff\n")
    assert read == Interface(public_key="", peers=(Peer(key=HUB),))


def test_no_secret_is_kept_unless_it_is_asked_for() -> None:
    kept = msgspec.json.encode(parse_dump(DUMP)).decode()
    assert PRIVATE not in kept
    assert SHARED not in kept
    assert preshared_key(DUMP, HUB) == SHARED
    assert preshared_key(DUMP, OURS) == ""


@pytest.mark.parametrize(
    "text", ["", "\n", "interface: wg0\n", DUMP + "x\n", DUMP.replace("\t123", "\t-1"), DUMP.replace(HUB, "short")]
)
def test_what_is_no_dump_is_refused_without_a_key_in_the_message(text: str) -> None:
    with pytest.raises(ValueError, match=r"line|field|key") as raised:
        parse_dump(text)
    assert PRIVATE not in str(raised.value)


@given(st.text(alphabet="\t\n0123456789ABab+/=(no)x,.:", max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(ValueError):
        parse_dump(text)


def peer(age: float | None = 0.0, *, received: int = 0, sent: int = 0, now: float = 0.0) -> Peer:
    """A peer at `now` seconds after START, whose last handshake is `age` seconds old."""
    at = 0 if age is None else int(START + now - age)
    return Peer(key=HUB, handshake_at=at, received=received, sent=sent, keepalive=25)


def seen(steps: list[tuple[float, Peer | None]], first: Tunnel | None = None) -> Tunnel:
    """Judged at each of the times, one after the other."""
    tunnel = first or Tunnel()
    for now, there in steps:
        tunnel = judge(tunnel, there, LIMITS, now=now, now_ms=int((START + now) * 1000))
    return tunnel


def test_a_young_handshake_is_up_and_an_old_one_is_stale() -> None:
    assert seen([(0, peer(10))]).state is UP
    assert seen([(0, peer(179))]).state is UP
    assert seen([(0, peer(180))]).state is STALE
    assert seen([(0, peer(0)), (200, peer(200, now=200))]).state is STALE


def test_without_a_handshake_or_an_interface_it_is_down() -> None:
    assert seen([(0, peer(None))]).state is DOWN
    assert seen([(0, None)]).state is DOWN
    assert seen([(0, peer(1)), (1, None)]).state is DOWN


def test_one_that_worked_in_an_earlier_run_is_stale_and_not_down() -> None:
    assert seen([(0, peer(None))], Tunnel(handshake_at=START - 9000)).state is STALE


def test_what_is_sent_and_never_answered_makes_it_stale_long_before_the_handshake_is_old() -> None:
    before = [(0.0, peer(0, received=1000, sent=1000)), (1.0, peer(1, received=2000, sent=2000, now=1))]
    quiet = peer(30.9, received=2000, sent=9000, now=30.9)
    assert seen([*before, (30.9, quiet)]).state is UP
    assert seen([*before, (31.0, quiet)]).state is STALE
    answered = peer(32, received=2001, sent=9100, now=32)
    assert seen([*before, (31.0, quiet), (32.0, answered)]).state is UP


@given(st.integers(1, 600))
def test_an_idle_tunnel_that_sends_keepalives_alone_is_never_called_silent(seconds: int) -> None:
    """Its handshake is renewed every two minutes, and nobody answers an empty packet."""
    tunnel = Tunnel()
    for now in range(0, seconds + 1, 5):
        renewed = now - now % 120
        there = peer(
            now - renewed, received=92 * (1 + now // 120), sent=148 * (1 + now // 120) + now // 25 * 32, now=now
        )
        tunnel = judge(tunnel, there, LIMITS, now=now, now_ms=(START + now) * 1000)
        assert tunnel.state is UP


def test_a_peer_set_anew_counts_from_nothing() -> None:
    worked = seen([(0, peer(0, received=5000, sent=5000)), (40, peer(40, received=5000, sent=9000, now=40))])
    assert worked.state is STALE
    anew = seen([(41, peer(None, sent=148))], worked)
    assert anew.state is STALE
    assert seen([(42, peer(0, received=92, sent=148, now=42))], anew).state is UP


@given(st.integers(-(10**9), 10**9))
def test_a_clock_that_jumps_does_not_make_a_working_tunnel_stale(jump: int) -> None:
    tunnel = seen([(0, peer(0, received=1))])
    after = judge(tunnel, peer(0, received=1), LIMITS, now=60, now_ms=max(0, (START + 60 + jump) * 1000))
    assert after.state is UP


READINGS = st.lists(
    st.tuples(
        st.integers(1, 100),
        st.one_of(st.none(), st.tuples(st.integers(0, 400), st.integers(0, 10_000), st.integers(0, 10_000))),
    ),
    max_size=20,
)


@given(READINGS)
def test_since_is_the_time_of_the_last_change_and_a_handshake_is_never_forgotten(
    readings: list[tuple[int, tuple[int, int, int] | None]],
) -> None:
    times = itertools.accumulate(step for step, _ in readings)
    tunnel, known = Tunnel(), 0
    for now, (_, values) in zip(times, readings, strict=True):
        there = peer(values[0], received=values[1], sent=values[2], now=now) if values else None
        before, tunnel = tunnel, judge(tunnel, there, LIMITS, now=now, now_ms=(START + now) * 1000)
        same = before.state is tunnel.state and before.since
        assert tunnel.since == (before.since if same else (START + now) * 1000)
        known = there.handshake_at if there else known
        assert tunnel.handshake_at == known
        assert (tunnel.state is DOWN) == (there is None)


SILENT = Tunnel(state=STALE, handshake_at=START)
NEVER = Tunnel(state=DOWN)
ALONE = Interface(public_key=OURS, peers=(Peer(key=HUB),))
NOW = Signs(now=START + 60, clock_ahead_of=START)


@pytest.mark.parametrize(
    ("interface", "tunnel", "signs", "problem"),
    [
        (None, NEVER, Signs(tools=Problem.NO_TOOL), Problem.NO_TOOL),
        (None, NEVER, Signs(tools=Problem.NO_INTERFACE), Problem.NO_INTERFACE),
        (ALONE, NEVER, Signs(interface_on=False), Problem.INTERFACE_OFF),
        (Interface(public_key=""), NEVER, NOW, Problem.NO_KEY),
        (ALONE, Tunnel(state=UP), NOW, Problem.NONE),
        (Interface(public_key=OURS, peers=(Peer(key=SHARED),)), NEVER, NOW, Problem.OTHER_PEER),
        (ALONE, SILENT, Signs(now=START - 1, clock_ahead_of=START), Problem.CLOCK_BACK),
        (ALONE, SILENT, Signs(now=START, usable_uplinks=False), Problem.NO_UPLINK),
        (ALONE, SILENT, Signs(now=START, address_known=False), Problem.NO_ADDRESS),
        (ALONE, NEVER, NOW, Problem.NO_ANSWER),
        (Interface(public_key=OURS), NEVER, NOW, Problem.NO_ANSWER),
        (ALONE, SILENT, NOW, Problem.SILENT),
    ],
)
def test_the_first_cause_is_told(interface: Interface | None, tunnel: Tunnel, signs: Signs, problem: Problem) -> None:
    assert diagnose(interface, HUB, tunnel, signs) is problem


def test_a_few_handshakes_are_what_a_peer_may_owe() -> None:
    assert UNANSWERED_BYTES == 3 * 148
