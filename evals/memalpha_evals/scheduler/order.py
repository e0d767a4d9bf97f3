"""Which piece of work gets the next slot. Pure: no clock, no loop.

1. Of the chains that were begun, the one with the most left: what is left of the longest chain bounds the end
   of everything from below. A chain that was not begun counts among them as soon as it is urgent: if it had
   to wait for its even share of all work, it would be among the last to end.
2. Questions, first come, first served: they fill the gaps, and what they hold is free again.
3. The longest chain that was not begun. So most chains are begun late, and few stand open at a time: at most
   one for each slot, and those that are urgent, which are fewer than `_URGENT` times the slots.

Whatever wants a slot gets one if one is free; nothing is held back for something better.
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field
from itertools import count
from typing import Generic, Literal, TypeVar

T = TypeVar("T")
Kind = Literal["step", "ask", "new"]

# A chain is urgent if its steps, one after another, take half as long as all work spread over all slots:
# calls differ in length, and a chain may draw many long ones.
_URGENT = 2


@dataclass(order=True, slots=True)
class _Entry(Generic[T]):
    rank: tuple[int, int]
    item: T = field(compare=False)


class Order(Generic[T]):
    """What waits for a slot."""

    def __init__(self, slots: int) -> None:
        """For so many slots."""
        self._slots = slots
        self._serial = count()
        self._steps: list[_Entry[T]] = []
        self._new: list[_Entry[T]] = []
        self._asks: deque[T] = deque()

    def add(self, kind: Kind, item: T, remaining: int = 0) -> None:
        """Adds a step of a chain that was begun, an ask, or the first step of a chain.

        Args:
            kind: Which of the three.
            item: What `take` gives back.
            remaining: Calls that the chain's steps still take.
        """
        if kind == "ask":
            self._asks.append(item)
            return
        heap = self._steps if kind == "step" else self._new
        heapq.heappush(heap, _Entry((-remaining, next(self._serial)), item))

    def first(self, outstanding: int) -> T | None:
        """What comes next, left where it is; None if nothing waits.

        Args:
            outstanding: Calls of all kinds that are still to be made.
        """
        kind = self._next(outstanding)
        if kind is None:
            return None
        return self._asks[0] if kind == "ask" else (self._steps if kind == "step" else self._new)[0].item

    def take(self, outstanding: int) -> T | None:
        """As `first`, and removes it."""
        kind = self._next(outstanding)
        if kind is None:
            return None
        if kind == "ask":
            return self._asks.popleft()
        return heapq.heappop(self._steps if kind == "step" else self._new).item

    def _next(self, outstanding: int) -> Kind | None:
        if self._new and self._urgent(outstanding) and not (self._steps and self._steps[0] < self._new[0]):
            return "new"
        if self._steps:
            return "step"
        if self._asks:
            return "ask"
        return "new" if self._new else None

    def _urgent(self, outstanding: int) -> bool:
        longest = -self._new[0].rank[0]
        return longest * self._slots * _URGENT >= outstanding
