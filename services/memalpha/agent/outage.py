"""Whether something that everybody needs is away, and until when to leave it alone.

Many tasks share one outage: failures that come together count once, pauses grow, and the log gets one line
when it begins and one when it ends.
"""

from __future__ import annotations

import asyncio

from memalpha.agent.backoff import Backoff
from memalpha.errors import MemalphaError
from memalpha.telemetry import get_logger

_log = get_logger(__name__)


class Outage:
    """The state of one thing that may be away."""

    def __init__(self, what: str, backoff: Backoff, work: str = "memorizing") -> None:
        """With everything in order; the log says that `work` waits for `what`."""
        self._what = what
        self._work = work
        self._backoff = backoff
        self._failures = 0
        self._until = 0.0

    def remaining(self) -> float:
        """Seconds until the next try is due."""
        return max(0.0, self._until - asyncio.get_running_loop().time())

    def failed(self, error: MemalphaError) -> None:
        """Notes a failure. Tasks that failed together count once."""
        if self.remaining() > 0:
            return
        if self._failures == 0:
            _log.warning(f"{self._work} waits", unavailable=self._what, reason=error.reason, error=str(error))
        self._until = asyncio.get_running_loop().time() + self._backoff.pause(self._failures)
        self._failures += 1

    def over(self) -> None:
        """Notes a success."""
        if self._failures:
            _log.info(f"{self._work} goes on", available=self._what, failures=self._failures)
        self._failures, self._until = 0, 0.0
