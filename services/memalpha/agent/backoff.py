"""Pauses that double up to a limit, with jitter, so that many waiters do not come back at the same moment."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """The n-th pause is between half of `first * 2**n` seconds and all of it, and at most `longest`."""

    first: float
    longest: float

    def pause(self, n: int) -> float:
        """Seconds to wait after failure number `n`, counted from 0."""
        return min(self.longest, self.first * 2 ** min(n, 30)) * random.uniform(0.5, 1.0)
