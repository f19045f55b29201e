"""Priority of a study: stat overtakes urgent, urgent overtakes routine, routine overtakes prior."""

from __future__ import annotations

from enum import IntEnum


class Priority(IntEnum):
    """Lower is sooner, so that SQL can `ORDER BY priority`."""

    STAT = 0
    URGENT = 1
    ROUTINE = 2
    PRIOR = 3

    @property
    def word(self) -> str:
        """`stat`, `urgent`, `routine` or `prior`: as in the configuration, on the wire and in JSON."""
        return self.name.lower()

    @classmethod
    def from_word(cls, word: str) -> Priority:
        """Raises KeyError for anything that is not one of the four words."""
        return cls[word.upper()]
