"""How a bench prints: tables of 100 columns, its goals, the machine's line; with --json one last line of figures.

`--document` puts what was printed, as it was printed, into the bench's section of docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import sqlite3
import statistics
import subprocess
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from harness import CHECKOUT

WIDTH = 100
DOCUMENT = CHECKOUT / "docs" / "benchmarks.md"


def arguments(doc: str | None, *, repeat: int = 5) -> argparse.ArgumentParser:
    """A parser with the options that every bench takes."""
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--json", action="store_true", help="end with one line: one JSON object of the figures")
    parser.add_argument("--document", action="store_true", help="put the tables into docs/benchmarks.md")
    parser.add_argument("--repeat", type=int, default=repeat, metavar="N", help=f"runs of each; default {repeat}")
    parser.add_argument(
        "--directory",
        type=Path,
        default=CHECKOUT / ".cache" / "bench",
        help="where the processes keep their files: a real disk (default: .cache/bench of the checkout)",
    )
    return parser


def scratch(directory: Path) -> Path:
    """`directory`, made; exits when it is in memory, since an fsync there costs nothing."""
    directory.mkdir(parents=True, exist_ok=True)
    kind = subprocess.run(
        ["stat", "--file-system", "--format=%T", directory], check=True, capture_output=True, text=True
    ).stdout.strip()
    if kind in {"tmpfs", "ramfs"}:
        raise SystemExit(f"{directory} is on {kind}: give a --directory on a real disk")
    return directory


@dataclass(frozen=True)
class Goal:
    """One sentence of what was to be reached, and the figure that was."""

    sentence: str
    figure: str
    met: bool


@dataclass
class Table:
    """Columns are headings; the first column is text to the left, the others stand to the right."""

    heading: str
    columns: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)
    note: str = ""

    def lines(self) -> list[str]:
        """The table as text, at most `WIDTH` wide if its cells allow."""
        widths = [max(len(row[i]) for row in [self.columns, *self.rows]) for i in range(len(self.columns))]
        lines = [self.heading, "", _row(self.columns, widths), "  ".join("-" * width for width in widths)]
        lines += [_row(row, widths) for row in self.rows]
        if self.note:
            lines += ["", *textwrap.wrap(self.note, WIDTH)]
        return lines


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = (
        cell.rjust(width) if i else cell.ljust(width) for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "  ".join([first, *others]).rstrip()


@dataclass
class Report:
    """What one run of a bench found. `figures` is what --json prints beside goals and machine.

    `remarks` are lines between the tables and the goals, such as what could not be measured here.
    """

    bench: str
    title: str
    tables: list[Table] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    goals: list[Goal] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    machine: str = field(default_factory=lambda: _machine())  # noqa: PLW0108 - it is defined below

    def text(self) -> str:
        """All tables and remarks, then the goals."""
        lines = [self.title, *textwrap.wrap(self.machine, WIDTH), ""]
        for table in self.tables:
            lines += [*table.lines(), ""]
        for remark in self.remarks:
            lines += [*textwrap.wrap(remark, WIDTH), ""]
        for goal in self.goals:
            lines += textwrap.wrap(
                f"{'met   ' if goal.met else 'MISSED'}  {goal.sentence}: {goal.figure}",
                WIDTH,
                subsequent_indent=" " * 8,
            )
        return "\n".join(lines).rstrip() + "\n"

    def line(self) -> str:
        """One line of JSON: `bench`, `machine`, `goals` and the figures."""
        goals = [{"goal": goal.sentence, "figure": goal.figure, "met": goal.met} for goal in self.goals]
        return json.dumps({"bench": self.bench, "machine": self.machine, "goals": goals, **self.figures})


def publish(report: Report, options: argparse.Namespace) -> None:
    """Prints the report as the options say."""
    text = report.text()
    print(text, end="")
    if options.document:
        _document(report.bench, text)
    if options.json:
        print(report.line())


def _document(bench: str, text: str) -> None:
    """Replaces the block between this bench's two marks."""
    block = f"<!-- {bench} -->\n```\n{text}```\n<!-- /{bench} -->"
    page = DOCUMENT.read_text("utf-8")
    pattern = re.compile(rf"<!-- {bench} -->.*?<!-- /{bench} -->", re.DOTALL)
    if not pattern.search(page):
        raise SystemExit(f"{DOCUMENT} has no marks for {bench}")
    DOCUMENT.write_text(pattern.sub(lambda _: block, page), "utf-8")


def _machine() -> str:
    """Processor, cores, kernel, date, and the versions that the figures depend on."""
    cpuinfo = Path("/proc/cpuinfo").read_text("utf-8")
    model = re.search(r"^(?:model name|Model)\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    cores = len(os.sched_getaffinity(0))
    return ", ".join(
        [
            f"{model.group(1) if model else platform.machine()}, {cores} cores",
            f"Linux {platform.release()} {platform.machine()}",
            datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            f"Python {platform.python_version()}",
            f"SQLite {sqlite3.sqlite_version}",
            *(f"{name} {version(name)}" for name in ("pydicom", "pylibjpeg-openjpeg", "zstandard")),
            f"load {os.getloadavg()[0]:.2f}",
        ]
    )


def median(values: Sequence[float]) -> float:
    """The middle one."""
    return statistics.median(values)


def spread(values: Sequence[float], form: str = ".2f") -> str:
    """Least and greatest, as `1.02–1.31`."""
    return f"{min(values):{form}}–{max(values):{form}}"


def megabytes(count: float) -> str:
    """Bytes as `12.3` MB (10⁶)."""
    return f"{count / 1e6:.1f}" if count >= 1e5 else f"{count / 1e6:.3f}"
