"""What to do for a tunnel that does not answer, and when. Pure: what was done and the time in, the next step out.

A round is: look the endpoint's name up, set its address, set the peer anew, go to the next uplink. A step is done at
most once a round, gets its time to show an effect, and rounds that do not help come at growing pauses. WireGuard goes
on trying by itself all the while, so a long pause here costs nothing when the line comes back. After a fail-over the
better uplink is tried again, with growing pauses too. All times are monotonic seconds.
"""

from __future__ import annotations

from typing import Final

import msgspec

from appliance.model.tunnel import Outcome, Step

LONGEST_PAUSE: Final = 120.0  # between two rounds
LONGEST_RETURN: Final = 4 * 3600.0  # before a better uplink is tried again
_NEVER: Final = float("-inf")


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """In seconds."""

    step: float = 15.0  # that a step is given
    comeback: float = 300.0  # before a better uplink is tried again, the first time


class Scene(msgspec.Struct, frozen=True, kw_only=True):
    """What may be done now."""

    up: bool  # as far as answers tell; a cable that is out is known before
    named: bool  # the endpoint is a name: it can be looked up
    uplinks: int = 0  # that are configured
    place: int = 0  # of the one in use; 0 is the best
    dead: bool = False  # the one in use has no carrier


class Watch(msgspec.Struct, frozen=True, kw_only=True):
    """What was done, and when."""

    done: tuple[Step, ...] = ()  # in this round of this trouble
    rounds: int = 0  # before this one
    last: float = _NEVER  # any step
    changed: bool = False  # the last look-up gave another address than the one in use
    moved: float = _NEVER  # to the uplink in use
    trial: bool = False  # it is a better one that has not answered yet
    comebacks: int = 0  # in a row that did not last


def next_step(watch: Watch, scene: Scene, pace: Pace, now: float) -> Step | None:
    """What to do now; None: nothing."""
    if scene.up and not scene.dead:
        rested = now - max(watch.moved, watch.last)
        due = scene.place > 0 and rested >= comeback_pause(watch.comebacks, pace)
        return Step.BETTER_UPLINK if due else None
    waited = now - watch.last
    if scene.uplinks > 1 and _leave_at_once(watch, scene, pace, waited):
        return Step.NEXT_UPLINK
    if scene.up:
        return None
    left = _left(watch, scene)
    if not left:
        return _round(scene)[0] if waited >= round_pause(watch.rounds + 1, scene.uplinks, pace) else None
    at_once = left[0] is Step.SET_ENDPOINT and watch.changed and Step.LOOK_UP in watch.done
    return left[0] if at_once or waited >= pace.step else None


def _leave_at_once(watch: Watch, scene: Scene, pace: Pace, waited: float) -> bool:
    """Without the other steps: a cable that is out can't be helped from here, nor a comeback that gets no answer."""
    if watch.trial:
        return waited >= pace.step
    tried = Step.NEXT_UPLINK in watch.done
    return scene.dead and (not tried or waited >= round_pause(watch.rounds + 1, scene.uplinks, pace))


def _round(scene: Scene) -> list[Step]:
    steps = [Step.LOOK_UP] if scene.named else []
    steps += [Step.SET_ENDPOINT, Step.REKEY]
    return steps + ([Step.NEXT_UPLINK] if scene.uplinks > 1 else [])


def _left(watch: Watch, scene: Scene) -> list[Step]:
    """Steps of this round that are not done. An address that is the one in use is not set again."""
    needless = {Step.SET_ENDPOINT} if Step.LOOK_UP in watch.done and not watch.changed else set()
    return [step for step in _round(scene) if step not in watch.done and step not in needless]


def round_pause(rounds: int, uplinks: int, pace: Pace) -> float:
    """Seconds after so many rounds before the next. Each uplink is tried once before the pause grows."""
    cycles = max(0, rounds - 1) // max(1, uplinks)
    return min(max(LONGEST_PAUSE, pace.step), pace.step * 2.0 ** min(cycles, 20))


def comeback_pause(comebacks: int, pace: Pace) -> float:
    """Seconds on a lesser uplink before a better one is tried, after so many tries in a row that did not last."""
    return min(max(LONGEST_RETURN, pace.comeback), pace.comeback * 2.0 ** min(comebacks, 20))


def observe(watch: Watch, scene: Scene) -> Watch:
    """When the tunnel is up, the trouble is over: the next one begins with the first step of the first round."""
    over = scene.up and not scene.dead and (watch.done or watch.rounds or watch.trial)
    return msgspec.structs.replace(watch, done=(), rounds=0, trial=False) if over else watch


def after(watch: Watch, step: Step, outcome: Outcome, scene: Scene, pace: Pace, now: float) -> Watch:
    """What is known once `step` was done in `scene`."""
    if step is Step.BETTER_UPLINK:
        if outcome is Outcome.DONE:
            return msgspec.structs.replace(watch, last=now, moved=now, trial=True)
        return msgspec.structs.replace(watch, last=now, comebacks=watch.comebacks + 1)
    again = step in watch.done
    watch = msgspec.structs.replace(
        watch,
        done=(step,) if again else (*watch.done, step),
        rounds=watch.rounds + again,
        last=now,
        changed=outcome is Outcome.DONE if step is Step.LOOK_UP else watch.changed,
    )
    if step is Step.NEXT_UPLINK and outcome is Outcome.DONE:
        comebacks = _comebacks(watch, scene, pace, now)
        return msgspec.structs.replace(watch, moved=now, trial=False, comebacks=comebacks)
    return watch


def _comebacks(watch: Watch, scene: Scene, pace: Pace, now: float) -> int:
    """How many in a row did not last, when the uplink in use is left now. Unlucky ones make the next wait longer."""
    if watch.trial:
        return watch.comebacks + 1
    if scene.place > 0:
        return watch.comebacks
    lasted = now - watch.moved >= comeback_pause(watch.comebacks, pace)
    return 0 if lasted else watch.comebacks + 1
