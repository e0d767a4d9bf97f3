"""Scores that weights may be exchanged under: what is done stays for as long as the weights do.

All scores are by weights of one number. Whoever is cut off again and again without getting on gives up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from memalpha.errors import UnavailableError, make
from memalpha.policy.vllm.process import Process

# Times that a leg may begin with nothing gained by the one before.
_RESTARTS = 8


class Scores:
    """Sequences to be scored, in legs; belongs to one task."""

    def __init__(self, sequences: list[list[int]], turns: asyncio.Semaphore) -> None:
        """Nothing is done yet; `turns` bounds how many sequences are scored at once."""
        self.version = 0
        self._sequences, self._turns = sequences, turns
        self._done: dict[int, list[float]] = {}
        self._had = -1
        self._restarts = 0

    @property
    def whole(self) -> bool:
        """Whether a leg has ended with everything scored."""
        return self._had >= 0 and len(self._done) == len(self._sequences)

    @property
    def in_order(self) -> list[list[float]]:
        """Of each sequence, logprobs of each token but the first."""
        return [self._done[place] for place in range(len(self._sequences))]

    async def go_on(self, process: Process, version: int, name: Callable[[], str]) -> None:
        """Scores what is not done by these weights; what is done stays if it is cut off.

        Raises:
            UnavailableError: SCORES_INTERRUPTED.
        """
        self._begin(version)
        left = [place for place in range(len(self._sequences)) if place not in self._done]
        tasks = [asyncio.create_task(self._scored(place, process, name)) for place in left]
        try:
            await asyncio.gather(*tasks)
        finally:
            # An exchange begins when legs are over, and these are part of one.
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)

    def _begin(self, version: int) -> None:
        if version != self.version:
            self.version, self._done = version, {}
        self._restarts += len(self._done) <= self._had
        self._had = len(self._done)
        if self._restarts > _RESTARTS:
            rule = "weights are exchanged faster than these are scored; send fewer or shorter sequences"
            raise make(UnavailableError, "SCORES_INTERRUPTED", rule, policy_version=version)

    async def _scored(self, place: int, process: Process, name: Callable[[], str]) -> None:
        async with self._turns:
            self._done[place] = await process.score(self._sequences[place], name())
