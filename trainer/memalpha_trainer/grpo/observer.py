"""Who hears of a run while it trains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from memalpha_trainer.credit.rows import Batch
from memalpha_trainer.records import Rollout

Key = tuple[int, int, int]
"""Of a row within its collection: group, index, place among its rollout's samples."""


class Observer(Protocol):
    """Hears of a run. Called by the main process's one thread, which waits; an error stops the run."""

    def collected(self, step: int, rollouts: Sequence[Rollout], batch: Batch) -> None:
        """Once per collection, before it is trained on.

        Args:
            step: Optimizer steps done.
            rollouts: All of them, those that were dropped too.
            batch: What is trained on.
        """
        ...

    def scored(self, step: int, logprobs: Mapping[Key, Sequence[float]]) -> None:
        """Once per collection, after it was trained on.

        Args:
            step: As `collected` had it.
            logprobs: The trainer's own, of the tokens of each row when it was passed over. Rows without
                advantage are not passed over.
        """
        ...

    def stepped(self, step: int, numbers: Mapping[str, float]) -> None:
        """After each optimizer step.

        Args:
            step: Optimizer steps done, this one included.
            numbers: Loss, gradient norm, learning rate, ratios, mismatch, and, at the first step of a
                collection, how many rows there were and how long it took.
        """
        ...


class Silent:
    """An observer that does nothing."""

    def collected(self, step: int, rollouts: Sequence[Rollout], batch: Batch) -> None:
        """See `Observer`."""

    def scored(self, step: int, logprobs: Mapping[Key, Sequence[float]]) -> None:
        """See `Observer`."""

    def stepped(self, step: int, numbers: Mapping[str, float]) -> None:
        """See `Observer`."""
