"""Does what the page says of a study's arrival hold? Made-up weeks of lines are replayed, minute by minute.

Studies of many sizes come at random times and queue; when one comes, the range is asked for as the page would, and when
its last byte has gone it is seen whether the range held. What the line did is learnt on the way, by the same functions
that `forward` uses, from nothing on: the first days, in which no hour of the day was seen, count too.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections import deque
from dataclasses import dataclass, field

from harness import traces
from harness.report import Goal, Report, Table, arguments, median, publish
from harness.traces import DAY, Trace

from appliance.link.forecast import COVERAGE, Calibration, Now, Range, after_outcome, amounts, ask, play
from appliance.link.history import History, after_minute


@dataclass
class Study:
    """A study under way: when it came (minutes), how many bytes the line must have carried for it, what was said."""

    came: int
    until: float
    said: Range


@dataclass
class Outcome:
    """What was said, and how many minutes it took."""

    said: Range
    minutes: float

    @property
    def held(self) -> bool:
        return self.said.soonest <= self.minutes <= self.said.latest


@dataclass
class Replay:
    """One trace under replay."""

    trace: Trace
    draw: random.Random
    load: float
    history: History = field(default_factory=History)
    calibration: Calibration = field(default_factory=Calibration)
    carried: float = 0.0
    asked: float = 0.0
    waiting: deque[Study] = field(default_factory=deque)
    outcomes: list[Outcome] = field(default_factory=list)

    def run(self) -> list[Outcome]:
        a_day = 40.0
        mean = sum(self.trace) * 60 / (len(self.trace) / DAY) * self.load / a_day
        for minute in range(len(self.trace)):
            if self.draw.random() < a_day / DAY:
                self._arrive(minute, mean * min(self.draw.lognormvariate(-0.7, 1.2), 20))
            self._carry(minute)
        return self.outcomes

    def _arrive(self, minute: int, size: float) -> None:
        self.asked = max(self.asked, self.carried) + size
        rate = self.trace[max(0, minute - 1)]
        now = Now(hour=minute / 60 % 24, up=rate > 0, rate=rate if self.waiting else 0.0)
        backlog = self.asked - self.carried
        forecast = play(self.history, now, amounts(backlog), seed=minute)
        said = ask(forecast, self.calibration, backlog)
        self.waiting.append(Study(minute, self.asked, said or Range(0, 0, 0)))

    def _carry(self, minute: int) -> None:
        rate, before = self.trace[minute], self.carried
        busy = bool(self.waiting)
        self.history = after_minute(self.history, minute // 60 % 24, up=rate > 0, rate=rate if busy else None)
        self.carried = min(self.asked, before + rate * 60) if busy else before
        while self.waiting and self.waiting[0].until <= self.carried + 1:
            study = self.waiting.popleft()
            took = minute + (study.until - before) / (rate * 60) - study.came
            if study.said.latest:
                self.outcomes.append(Outcome(study.said, took))
                self.calibration = after_outcome(self.calibration, study.said, took)


def main(options: argparse.Namespace) -> None:
    """Replays each profile and prints how often the range held."""
    names = options.profile or list(traces.PROFILES)
    found = {}
    for name in names:
        draw = random.Random(f"studies {name} {options.seed}")
        found[name] = Replay(traces.trace(name, options.days, options.seed), draw, options.load).run()
    publish(report(found, options), options)


def report(found: dict[str, list[Outcome]], options: argparse.Namespace) -> Report:
    """The table and the goals."""
    made = Report("eta", f"Ranges of arrival on {options.days} replayed days of each line")
    table = Table("", ("line", "studies", "range held", "early", "late", "minutes", "width"))
    for name, outcomes in [*found.items(), ("all", [one for each in found.values() for one in each])]:
        count = len(outcomes)
        early = sum(one.minutes < one.said.soonest for one in outcomes) / count
        late = sum(one.minutes > one.said.latest for one in outcomes) / count
        minutes = median([one.minutes for one in outcomes])
        width = median([(one.said.latest - one.said.soonest) / max(one.minutes, 1) for one in outcomes])
        row = (f"{1 - early - late:.1%}", f"{early:.1%}", f"{late:.1%}", f"{minutes:.0f}", f"{width:.2f}")
        table.rows.append((name, str(count), *row))
        held = 1 - early - late
        words = f"{name}: the range of {COVERAGE:.0%} holds in 75 to 85 %"
        made.goals.append(Goal(words, f"{held:.1%}", 0.75 <= held <= 0.85))
        made.figures[name] = {"studies": count, "held": held, "early": early, "late": late}
    table.note = (
        "minutes: median from a study's last image to its last byte at the hub; "
        "width: of the range, against it, median."
    )
    made.tables.append(table)
    return made


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--profile", action="append", choices=tuple(traces.PROFILES), help="only this line")
    parser.add_argument("--days", type=int, default=42, help="days of each trace; default 42")
    parser.add_argument("--seed", type=int, default=1, help="of traces and studies; default 1")
    parser.add_argument("--load", type=float, default=0.4, help="share of the line that studies ask for; default 0.4")
    sys.exit(main(parser.parse_args()))
