"""Work that needs a service which is not to be had for a while: it begins again, after ever longer pauses."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from memalpha.agent.backoff import Backoff
from memalpha.errors import BusyError, UnavailableError

T = TypeVar("T")

# As long as a service may take to start. Pauses alone count: work that was long on its way when the service
# went away has as much patience left as any other.
_SECONDS = 600.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0


async def patiently(work: Callable[[], Awaitable[T]], require_alive: Callable[[], None] = lambda: None) -> T:
    """What the work returns; it must do no harm where it is done twice.

    Args:
        work: What needs the service.
        require_alive: Raises if the service is one that nobody starts again.

    Raises:
        MemalphaError: What the last try raised, any try for another reason, or what `require_alive` raised.
    """
    backoff, left, failures = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE), _SECONDS, 0
    while True:
        try:
            return await work()
        except (UnavailableError, BusyError):
            require_alive()
            if left <= 0:
                raise
        pause = min(backoff.pause(failures), left)
        await asyncio.sleep(pause)
        left, failures = left - pause, failures + 1
