"""The outbox in a thread of its own, so that a slow disk or a busy database never stops a transfer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from appliance.store_forward.outbox import Outbox

_P = ParamSpec("_P")
_T = TypeVar("_T")


@dataclass(frozen=True)
class Desk:
    """`thread` has one worker, the only one that may touch `outbox`."""

    outbox: Outbox
    thread: ThreadPoolExecutor

    async def do(self, what: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Runs a method of the outbox there, and returns what it returns.

        A transaction that began ends even when we are cancelled meanwhile.
        """
        return await asyncio.get_running_loop().run_in_executor(self.thread, lambda: what(*args, **kwargs))
