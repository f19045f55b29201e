"""Patient data that no log, metric or error message may hold: planted in every object that system tests send."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

NAME: Final = "Zebrafink^Quokka"
PATIENT_ID: Final = "ZBQ-4711-0815"
BIRTH_DATE: Final = "19370229"
DESCRIPTION: Final = "Wombatfraktur"
WORDS: Final = ("zebrafink", "quokka", "zbq-4711", "19370229", "wombatfraktur")


def leaks(paths: Iterable[Path]) -> list[str]:
    """A line for every canary word that a file holds: the file, the line, the word."""
    found = []
    for path in paths:
        for number, line in enumerate(path.read_text("utf-8", "replace").splitlines(), 1):
            found += [f"{path.name}:{number}: {word}: {line[:300]}" for word in WORDS if word in line.lower()]
    return found


def tracebacks(paths: Iterable[Path]) -> list[str]:
    """The last line of every traceback that a log holds, with the file it is in."""
    found = []
    for path in paths:
        text = path.read_text("utf-8", "replace")
        for part in text.split("Traceback (most recent call last)")[1:]:
            ends = [line for line in part.splitlines()[1:] if line and not line.startswith(" ")]
            found.append(f"{path.name}: {ends[0] if ends else part[:200]}")
    return found
