"""When so many bytes will be at the hub: the line's history played forward many times. Pure, and the same each time.

Each play walks through the coming minutes. While the line is up its rate stays for a while, as lines do, and is then
drawn from what this hour of day has shown; it falls with the chance of the hour, for as long as outages of that hour
have lasted. Of all plays the 10th and 90th percentile make the range that is said to hold in four cases of five.
Whether it does is watched (`Calibration`): a range that is left too often is widened, one that always holds is
narrowed.
"""

from __future__ import annotations

import bisect
import math
import random
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from appliance.link.history import HOURS, History, fall_chance, outages_like, rates_at

COVERAGE: Final = 0.8
_TAIL: Final = (1 - COVERAGE) / 2
_PLAYS: Final = 120
_STAY: Final = 0.85  # the chance that a minute's rate is that of the minute before
_FINE_MINUTES: Final = 180  # steps of a minute; after that of COARSE
_COARSE: Final = 10
HORIZON_MINUTES: Final = 7 * 1440
_CLASSES: Final = (2.0, 10.0, 60.0, 360.0)  # minutes of the middle estimate between the classes of a calibration
_LEARN: Final = (0.5, 0.1)  # how far an end is moved: at first, and at last
_START: Final = 0.3  # a line that is new is trusted less than its plays say
_STRETCH: Final = (-2.5, 2.5)  # of the logarithm of a stretch
_LEAST: Final = 0.08  # logarithm between the middle and an end of the narrowest range

Stretch = Annotated[float, Meta(ge=_STRETCH[0], le=_STRETCH[1])]


class Now(msgspec.Struct, frozen=True, kw_only=True):
    """The line at this moment. `hour` of day with its fraction, by the site's clock; `rate` 0 when it is not known."""

    hour: float
    up: bool
    rate: float = 0.0


class Range(msgspec.Struct, frozen=True):
    """Minutes from now."""

    soonest: float
    middle: float
    latest: float


class Calibration(msgspec.Struct, frozen=True):
    """Logarithms by which the near and the far end of a range are stretched, by the class of its length.

    `seen`: outcomes of each class so far.
    """

    near: tuple[Stretch, ...] = (_START,) * (len(_CLASSES) + 1)
    far: tuple[Stretch, ...] = (_START,) * (len(_CLASSES) + 1)
    seen: tuple[int, ...] = (0,) * (len(_CLASSES) + 1)


class Forecast(msgspec.Struct, frozen=True):
    """Ranges for rising amounts of bytes; `ask` reads between them."""

    bytes: tuple[float, ...] = ()
    ranges: tuple[Range, ...] = ()


def play(history: History, now: Now, amounts: tuple[float, ...], *, seed: int = 0) -> Forecast:
    """The forecast for these rising amounts of bytes; amounts that would take longer than a week are left out.

    Empty while the line has never carried anything.
    """
    if not any(hour.rates for hour in history.hours):
        return Forecast()
    draw = random.Random(seed)  # noqa: S311 - a play, not a secret
    plays = [_times(history, now, amounts, draw) for _ in range(_PLAYS)]
    ranges: list[Range] = []
    for index in range(len(amounts)):
        times = sorted(times[index] for times in plays)
        found = Range(_percentile(times, _TAIL), _percentile(times, 0.5), _percentile(times, 1 - _TAIL))
        if not found.latest < HORIZON_MINUTES:
            break
        ranges.append(found)
    return Forecast(amounts[: len(ranges)], tuple(ranges))


def _percentile(times: list[float], share: float) -> float:
    return times[min(len(times) - 1, int(share * len(times)))]


def _times(history: History, now: Now, amounts: tuple[float, ...], draw: random.Random) -> list[float]:
    """Minutes until each amount has been carried, in one play; infinite when it is over a week."""
    times: list[float] = []
    carried, minute, rate = 0.0, 0.0, now.rate
    down = 0.0 if now.up else _rest_of_outage(history, draw)
    while len(times) < len(amounts) and minute < HORIZON_MINUTES:
        step = 1.0 if minute < _FINE_MINUTES else float(_COARSE)
        if down > 0:
            minute, down = minute + min(step, down), down - step
            rate = 0.0 if down > 0 else rate
            continue
        hour = int(now.hour + minute / 60) % HOURS
        if not rate or draw.random() > _STAY**step:
            rate = draw.choice(rates_at(history, hour))
        carried += rate * 60 * step
        while len(times) < len(amounts) and carried >= amounts[len(times)]:
            over = (carried - amounts[len(times)]) / (rate * 60)
            times.append(minute + step - over)
        minute += step
        if draw.random() < 1 - (1 - fall_chance(history, hour)) ** step:
            down = draw.choice(outages_like(history, hour, 0.0) or (1.0,))
    return times + [math.inf] * (len(amounts) - len(times))


def _rest_of_outage(history: History, draw: random.Random) -> float:
    """Minutes that the outage of this moment will still last."""
    age = history.down_minutes
    alike = outages_like(history, history.down_hour, age)
    if alike:
        return max(0.5, draw.choice(alike) - age)
    return (
        max(1.0, age) * draw.paretovariate(1.0) / 2
    )  # longer than any before: half of such end within their age again


def ask(forecast: Forecast, calibration: Calibration, amount: float) -> Range | None:
    """The range for `amount` bytes, calibrated; None when the forecast does not reach so far."""
    if not forecast.ranges or amount > forecast.bytes[-1]:
        return None
    at = bisect.bisect_left(forecast.bytes, amount)
    plain = forecast.ranges[at] if at == 0 else _between(forecast, at, amount)
    if at == 0:
        share = max(amount, 1.0) / forecast.bytes[0]
        plain = Range(plain.soonest * share, plain.middle * share, plain.latest * share)
    return _stretched(plain, calibration)


def _between(forecast: Forecast, at: int, amount: float) -> Range:
    below, above = forecast.bytes[at - 1], forecast.bytes[at]
    share = (amount - below) / (above - below)
    low, high = forecast.ranges[at - 1], forecast.ranges[at]
    pairs = zip(msgspec.structs.astuple(low), msgspec.structs.astuple(high), strict=True)
    return Range(*(a + (b - a) * share for a, b in pairs))


def _stretched(plain: Range, calibration: Calibration) -> Range:
    kind = _class_of(plain.middle)
    middle = max(plain.middle, 1e-6)
    near = max(_LEAST, math.log(middle / max(plain.soonest, 1e-6))) * math.exp(calibration.near[kind])
    far = max(_LEAST, math.log(max(plain.latest, 1e-6) / middle)) * math.exp(calibration.far[kind])
    return Range(middle * math.exp(-near), middle, middle * math.exp(min(far, 20.0)))


def _class_of(minutes: float) -> int:
    return bisect.bisect_right(_CLASSES, minutes)


def after_outcome(calibration: Calibration, said: Range, minutes: float) -> Calibration:
    """The calibration after what was said to come in the range `said` took `minutes`.

    Each end moves a little out when it was passed and less in when it held, so that in the long run it is passed in one
    case of ten, whatever the line does (adaptive conformal inference).
    """
    kind = _class_of(said.middle)
    step = max(_LEARN[1], _LEARN[0] / math.sqrt(1 + calibration.seen[kind]))
    return Calibration(
        near=_replaced(calibration.near, kind, step * (float(minutes < said.soonest) - _TAIL)),
        far=_replaced(calibration.far, kind, step * (float(minutes > said.latest) - _TAIL)),
        seen=(*calibration.seen[:kind], calibration.seen[kind] + 1, *calibration.seen[kind + 1 :]),
    )


def _replaced(stretches: tuple[float, ...], kind: int, by: float) -> tuple[float, ...]:
    moved = min(max(stretches[kind] + by, _STRETCH[0]), _STRETCH[1])
    return (*stretches[:kind], moved, *stretches[kind + 1 :])


def amounts(largest: float, *, smallest: float = 65536.0, count: int = 28) -> tuple[float, ...]:
    """Rising amounts of bytes, evenly on a logarithmic scale, up to `largest`."""
    if largest <= smallest:
        return (smallest,)
    factor = (largest / smallest) ** (1 / (count - 1))
    return (*(smallest * factor**index for index in range(count - 1)), largest)
