"""The uplinks of this site: which can be used now, and how the tunnel's own packets are led by one of them.

Each has a mark of its own, and a routing table of the same number that holds its default route and, behind it,
"unreachable". The tunnel's UDP packets carry the mark of the uplink in use, so that a change of uplink is one word to
the kernel; WireGuard roams, and what is under way in the tunnel goes on. Questions for the hub's address carry it too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from appliance.config import LinkUplink
from appliance.link import commands
from appliance.link.commands import Road, ToolError

FIRST_MARK: Final = 5181  # also the place of its rule: before that of the main table, 32766
UPLINKS_MAX: Final = 8  # as the configuration's


class Uplinks:
    """`place` is that of the one in use; 0 is the best. Without any, packets go as the system's routes say."""

    def __init__(self, configured: Sequence[LinkUplink], in_use: str = "") -> None:
        self._all = list(configured)
        names = [uplink.name for uplink in self._all]
        self.place = names.index(in_use) if in_use in names else 0

    def __len__(self) -> int:
        return len(self._all)

    @property
    def names(self) -> list[str]:
        return [uplink.name for uplink in self._all]

    @property
    def name(self) -> str:
        """Of the one in use; empty when none is configured."""
        return self._all[self.place].name if self._all else ""

    def mark(self, place: int | None = None) -> int:
        """The mark that leads by an uplink; 0 when it has neither device nor gateway, so that the system decides."""
        place = self.place if place is None else place
        led = bool(self._all) and bool(self._all[place].device or self._all[place].gateway)
        return FIRST_MARK + place if led else 0

    def device(self, place: int) -> str:
        """The network device of an uplink; empty when there is none now."""
        uplink = self._all[place]
        if uplink.device or not uplink.gateway:
            return uplink.device
        try:
            return commands.device_to(uplink.gateway)
        except ToolError:
            return ""

    def usable(self, place: int) -> bool:
        """Its device has a carrier. One that leaves the way to the system counts as usable."""
        return not self.mark(place) or commands.has_carrier(self.device(place) or "-")

    @property
    def any_usable(self) -> bool:
        return not self._all or any(self.usable(place) for place in range(len(self._all)))

    @property
    def dead(self) -> bool:
        """The one in use can't carry anything now."""
        return bool(self._all) and not self.usable(self.place)

    def after(self) -> list[int]:
        """The other places, beginning with the next, then round to the first."""
        count = len(self._all)
        return [(self.place + step) % count for step in range(1, count)]

    def better(self) -> list[int]:
        """The places before the one in use."""
        return list(range(self.place))

    def pave(self, place: int | None = None) -> None:
        """Tells the kernel the way of an uplink. Raises ToolError."""
        place = self.place if place is None else place
        mark = self.mark(place)
        if mark:
            device = self.device(place)
            gateway = self._all[place].gateway or commands.gateway_of(device)
            commands.pave(Road(device=device, gateway=gateway, mark=mark))

    def first(self, places: Sequence[int], works: Callable[[int], bool]) -> int | None:
        """The first of `places` that has a carrier, can be paved, and `works`; None when there is none."""
        for place in places:
            if not self.usable(place):
                continue
            try:
                self.pave(place)
            except ToolError:
                continue
            if works(place):
                return place
        return None
