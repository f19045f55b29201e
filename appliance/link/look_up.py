"""Looks the hub's endpoint up: the hosts file first, then the name servers, each question outside of the tunnel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from appliance.link import commands, names
from appliance.link.names import LookUpError

TRIES: Final = 2
_SECONDS: Final = 2.0  # for one answer
_SERVERS: Final = 2


def look_up(
    name: str,
    *,
    tunnel: str,
    servers: Sequence[str] = (),
    mark: int = 0,
    versions: Sequence[int] = (4, 6),
    tries: int = TRIES,
) -> list[str]:
    """The addresses of `name`, the preferred first; none when there is no such name.

    `tunnel`: the interface that no question may go through; `mark`: of the uplink to ask by. Raises LookUpError when
    nobody could be asked, or nobody answered.
    """
    if found := names.own_hosts(name):
        return found
    problem = "no name server is known"
    for server in list(servers or names.system_servers())[:_SERVERS] * tries:
        try:
            device = commands.device_to(server, mark)
            if not device or device == tunnel:
                problem = f"name server {server} can't be reached outside of the tunnel"
                continue
            return _ask(name, server, versions, device, mark, tunnel)
        except OSError:
            problem = f"name server {server} does not answer"
        except LookUpError as error:
            problem = str(error)
        except commands.ToolError as error:
            raise LookUpError(str(error)) from error
    raise LookUpError(problem)


def _ask(name: str, server: str, versions: Sequence[int], device: str, mark: int, tunnel: str) -> list[str]:
    """The addresses of the first version that a way outside of the tunnel leads to. Those of a version to which none
    leads are better than nothing: the way may be there when they are used.
    """
    found: list[str] = []
    for version in versions:
        addresses = names.ask(name, server, version, device=device, mark=mark, seconds=_SECONDS)
        reached = [address for address in addresses if commands.device_to(address, mark) not in {"", tunnel}]
        if reached:
            return reached
        found = found or addresses
    return found
