"""A service that is away for a moment ends nothing: calls are repeated until it has been away too long.

Repeating is safe because every write carries its own id: a chunk that was stored before its reply got lost
is found again, not stored twice.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from memalpha.errors import BusyError, UnavailableError

T = TypeVar("T")

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 2.0
_PASSING = frozenset({"STORE_CLOSED", "OVERLOADED"})
"""Reasons of `BusyError` that go by without anybody's help; a full disk does not."""


class Patience:
    """Repeats calls that find no service.

    Args:
        seconds: how long one call is repeated before its error counts.
        notify: called with a sentence when waiting begins, and when it is over.
    """

    def __init__(self, seconds: float, notify: Callable[[str], None]) -> None:
        self._seconds = seconds
        self._notify = notify

    async def __call__(self, call: Callable[[], Awaitable[T]]) -> T:
        """Calls until the call succeeds, fails for a reason that does not pass, or the time is over."""
        give_up = time.monotonic() + self._seconds
        pause = _FIRST_PAUSE
        while True:
            try:
                result = await call()
            except (UnavailableError, BusyError) as error:
                if time.monotonic() + pause > give_up or not _passes(error):
                    raise
                if pause == _FIRST_PAUSE:
                    self._notify(f"waiting up to {self._seconds:g} s for the service: {error}")
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))
                pause = min(pause * 2, _LONGEST_PAUSE)
            else:
                if pause > _FIRST_PAUSE:
                    self._notify("the service is back")
                return result


def _passes(error: UnavailableError | BusyError) -> bool:
    return isinstance(error, UnavailableError) or error.reason in _PASSING
