"""How late the event loop comes back to a task that only sleeps: what all else in the process costs it.

A loop that lags lets slots stand empty however many there are. The cause is work on the loop that should be
in a thread, or a process that has too little of the machine.
"""

from __future__ import annotations

import asyncio
from collections import deque
from time import perf_counter
from types import TracebackType
from typing import Self

_EVERY = 0.05
_MOST_SAMPLES = 20_000


class LoopLag:
    """Measures for as long as it is open. An async context manager."""

    def __init__(self) -> None:
        """Nothing measured yet."""
        self._samples: deque[float] = deque(maxlen=_MOST_SAMPLES)
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._measure())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()

    def quantile(self, share: float) -> float:
        """Seconds of lag that a share of the samples does not exceed; 0 without samples."""
        ordered = sorted(self._samples)
        return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else 0.0

    async def _measure(self) -> None:
        while True:
            start = perf_counter()
            await asyncio.sleep(_EVERY)
            self._samples.append(max(0.0, perf_counter() - start - _EVERY))
