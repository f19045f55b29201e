"""Whose parcel is checked next. Pure.

Sites take turns, so that a site with a thousand parcels delays the receipt of another by one of them and no more. A
stat parcel overtakes the sites whose turn it is. But a site may call everything stat: so nobody overtakes right after
somebody did, nor right after a turn of its own, and at least every second turn goes round the sites.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class Waiting:
    """A site that has something to check: `parcel` is the row of its first one, and `stat` says that this is stat."""

    site: str
    parcel: int
    stat: bool


@dataclass(frozen=True)
class Turns:
    """The turns until now. `sites`: those that had one, the last one last; `overtook`: that one was out of turn."""

    sites: tuple[str, ...] = ()
    overtook: bool = False

    def take(self, waiting: Collection[Waiting]) -> tuple[Waiting, Turns]:
        """The next turn, and the turns with it. `waiting` has each site once, and one at least."""
        first = self._first(waiting)
        stat = [one for one in waiting if one.stat and one.site not in self.sites[-1:]]
        taken = self._first(stat) if stat and not self.overtook else first
        others = tuple(site for site in self.sites if site != taken.site)
        return taken, Turns((*others, taken.site), overtook=taken != first)

    def _first(self, waiting: Collection[Waiting]) -> Waiting:
        """The site whose last turn is longest ago; before these one that had none yet, by the age of its parcel."""
        had = {site: number for number, site in enumerate(self.sites)}
        return min(waiting, key=lambda one: (had.get(one.site, -1), one.parcel))
