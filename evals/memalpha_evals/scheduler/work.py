"""What is scheduled: chains of steps, and questions that fan out where a chain stands still for a moment.

Steps of one chain follow one another, everything else may run at once. Before each step, and after the last
one, a chain is asked for the questions that stand there. What they need of the chain is in them by then, so
that they are answered whenever there is room, while the chain goes on.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextvars import ContextVar
from typing import Protocol

from memalpha.errors import MemalphaError

AFFINITY: ContextVar[str] = ContextVar("affinity", default="")
"""The key of the chain on whose behalf a call is made. Calls of one key share prefixes, so that whoever has
several replicas of a model sends them to the same one."""


class Ask(Protocol):
    """One question with all that it needs; independent of every other piece of work."""

    @property
    def tokens(self) -> int:
        """About how many tokens its call has in flight; at least 1."""
        ...

    @property
    def endpoint(self) -> str:
        """Who answers its call; see `Chain.endpoint`."""
        ...

    async def run(self) -> None:
        """Has it answered. Called again after a `MemalphaError`, a few times."""
        ...

    def fail(self, error: MemalphaError) -> None:
        """It was tried often enough. Called instead of further runs, once."""
        ...


class Chain(Protocol):
    """Steps that follow one another. Called by one task at a time, except for the asks that it gave away."""

    @property
    def key(self) -> str:
        """What its calls have in common; see `AFFINITY`."""
        ...

    @property
    def endpoint(self) -> str:
        """Who answers its calls. If nobody is there, only calls of the same endpoint can tell."""
        ...

    @property
    def length(self) -> int:
        """How many steps it has."""
        ...

    @property
    def remaining(self) -> int:
        """How many calls its steps still take. Falls from step to step; what is replayed takes none."""
        ...

    @property
    def questions(self) -> int:
        """How many asks it gives in all."""
        ...

    def tokens(self, place: int) -> int:
        """About how many tokens the call of step `place` has in flight; 0: it takes no call."""
        ...

    async def step(self, place: int) -> None:
        """Takes step `place`. Called in order from 0; again after a `MemalphaError`, a few times."""
        ...

    def asks(self, place: int) -> AsyncIterator[Ask]:
        """The questions that stand before step `place`, or at the end; made one by one as they are taken."""
        ...

    def fail(self, error: MemalphaError) -> None:
        """A step was tried often enough, or its asks could not be made. No step follows."""
        ...

    async def close(self) -> None:
        """It gave its last ask, or failed, or everything is given up. Called once."""
        ...
