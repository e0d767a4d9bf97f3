"""The gate that legs go through: a leg begins while it is open, and is cut off, or waited for, when it shuts.

Most can be cut off at any moment, as what they are part of goes on in another leg. Those that are bound
cannot: the gate is shut for them first, and for all others only once they have ended. Belongs to one event
loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Gate:
    """Shut until it is opened."""

    def __init__(self, check: Callable[[], None]) -> None:
        """`check` raises if whoever stands before the gate is not to wait."""
        self._check = check
        self._open = asyncio.Event()
        self._open_to_bound = asyncio.Event()
        self._legs: set[asyncio.Task[Any]] = set()
        self._bound: set[asyncio.Task[Any]] = set()

    @property
    def legs(self) -> set[asyncio.Task[Any]]:
        """All that have begun and not ended."""
        return self._legs | self._bound

    async def through(self, leg: Callable[[], Coroutine[Any, Any, T]], *, bound: bool) -> T | None:
        """Runs a leg while the gate is open; None if it was cut off.

        Args:
            leg: made when it begins.
            bound: whether it cannot be cut off, as what it is bound to knows no second beginning.
        """
        # An event that was set and cleared since wakes as well.
        while shut := [event for event in self._events(bound=bound) if not event.is_set()]:
            self._check()
            await shut[0].wait()
        task = asyncio.create_task(leg())
        kind = self._bound if bound else self._legs
        kind.add(task)
        try:
            await asyncio.wait({task})
            return None if task.cancelled() else task.result()
        finally:
            kind.discard(task)
            task.cancel()

    def open(self) -> None:
        """Lets everybody through."""
        self._open_to_bound.set()
        self._open.set()

    def turn_away(self) -> None:
        """Stays shut; who waits wakes, and is told why by `check` if there is a reason."""
        self.open()
        self._open_to_bound.clear()
        self._open.clear()

    async def shut_to_bound(self) -> None:
        """Waits until those that are bound have ended, and lets no others of the kind begin."""
        self._open_to_bound.clear()
        await settled(self._bound)

    async def shut(self) -> None:
        """Lets nobody begin, and cuts off those that can be."""
        self._open.clear()
        for leg in self._legs:
            leg.cancel()
        await settled(self._legs)

    def _events(self, *, bound: bool) -> list[asyncio.Event]:
        return [self._open_to_bound, self._open] if bound else [self._open]


async def settled(tasks: set[asyncio.Task[Any]]) -> None:
    """Waits until all have ended, however they do."""
    if tasks:
        await asyncio.wait(set(tasks))
