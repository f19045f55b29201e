"""Of what kind one of our own mistakes is and where it happened, without a word of the data it met. Reads no file."""

from __future__ import annotations

import traceback
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Final

_OURS: Final = Path(__file__).parent
_CHAIN_MAX: Final = 4  # errors, each the cause of the one before


def where(error: BaseException) -> str:
    """The last place in this package on the way to the error: `uploads.py:88`. Not its message, which may hold data."""
    return next(iter(_places(error.__traceback__)), "")


def kinds(error: BaseException) -> str:
    """Its kind and those of the errors that it came from: `DatabaseError from OperationalError`."""
    return " from ".join(type(one).__name__ for one in _chain(error))


def trail(error: BaseException) -> str:
    """The way to it through this package, the last place first: `uploads.py:88 < server.py:40 < cli.py:240`."""
    places = [place for one in reversed(_chain(error)) for place in _places(one.__traceback__)]
    repeated = {index + 1 for index, (one, next_) in enumerate(pairwise(places)) if one == next_}
    return " < ".join(place for index, place in enumerate(places) if index not in repeated)


def _places(of: TracebackType | None) -> list[str]:
    """The last place first. Without one of ours, the last of a library's."""
    frames = [(Path(frame.f_code.co_filename), line) for frame, line in traceback.walk_tb(of)]
    ours = [frame for frame in frames if frame[0].is_relative_to(_OURS)] or frames[-1:]
    return [f"{path.name}:{line}" for path, line in reversed(ours)]


def _chain(error: BaseException) -> list[BaseException]:
    """The error, the one that it came from (the first of a group), and so on."""
    found: list[BaseException] = []
    one: BaseException | None = error
    while one is not None and len(found) < _CHAIN_MAX and all(one is not other for other in found):
        found.append(one)
        one = one.exceptions[0] if isinstance(one, BaseExceptionGroup) else _origin(one)
    return found


def _origin(error: BaseException) -> BaseException | None:
    return error.__cause__ if error.__cause__ or error.__suppress_context__ else error.__context__
