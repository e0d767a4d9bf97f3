"""Work that needs a service which is not to be had for a while: it begins again, after ever longer pauses."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from memalpha.agent.backoff import Backoff
from memalpha.errors import BusyError, UnavailableError

T = TypeVar("T")

_TRIES = 8
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0


async def patiently(work: Callable[[], Awaitable[T]]) -> T:
    """What the work returns; it must do no harm where it is done twice.

    Raises:
        MemalphaError: What the last try raised, or any try for another reason.
    """
    backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
    for tries in range(_TRIES - 1):
        try:
            return await work()
        except (UnavailableError, BusyError):
            await asyncio.sleep(backoff.pause(tries))
    return await work()
