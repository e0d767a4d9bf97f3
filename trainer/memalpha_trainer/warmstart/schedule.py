"""What is learned, in which order and how fast. Pure; no torch here."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

_WINDOW = 16
"""Batches that are sorted by length together."""


@dataclass(frozen=True, slots=True)
class Row:
    """What one row of training is: ids of a prompt, and those of the completion with its end token."""

    prompt: tuple[int, ...]
    completion: tuple[int, ...]

    def __len__(self) -> int:
        """Tokens in all."""
        return len(self.prompt) + len(self.completion)


@dataclass(frozen=True, slots=True)
class Schedule:
    """How rows are learned.

    Attributes:
        muon_lr: Highest learning rate of matrices, in units of their spectral norm.
        lr: Highest learning rate of everything else, by Adam.
        batch: Rows of a step.
        warmup: Steps in which the learning rates rise.
        decay: Share of the steps, the last ones, in which they fall to nothing.
        max_grad_norm: Longer gradients are shortened.
        seed: Of the order of rows.
    """

    muon_lr: float = 0.02
    lr: float = 3e-3
    batch: int = 16
    warmup: int = 20
    decay: float = 0.4
    max_grad_norm: float = 1.0
    seed: int = 0

    def rate(self, step: int, steps: int) -> float:
        """What the learning rates of a step, from 0, are multiplied with."""
        falling = max(1.0, self.decay * steps)
        return max(0.0, min(1.0, (step + 1) / max(1, self.warmup), (steps - step) / falling))

    def order(self, rows: Sequence[Row], stage: int = 0) -> list[Row]:
        """The rows by chance, batches of like length; what does not fill a last batch is left out."""
        chance = random.Random(f"order {self.seed} {stage}")
        mixed = chance.sample(list(rows), len(rows))
        batches: list[list[Row]] = []
        for start in range(0, len(mixed), self.batch * _WINDOW):
            window = sorted(mixed[start : start + self.batch * _WINDOW], key=len)
            cut = [window[at : at + self.batch] for at in range(0, len(window), self.batch)]
            batches += chance.sample(cut, len(cut))
        return [row for batch in batches if len(batch) == self.batch for row in batch]
