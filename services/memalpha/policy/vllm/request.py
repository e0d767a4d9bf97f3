"""A completion that vLLM works on, in one leg or in several.

A leg is one request to vLLM; it is of one version of the weights. A completion whose leg was cut off by an
exchange of weights goes on in another: what it wrote so far is part of the next prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from memalpha.policy.local.job import Job
from memalpha.policy.local.sampling import Sampling
from memalpha.policy.local.tokens import Decoder
from memalpha.policy.stops import StopWatch

# An odd constant that tells the seeds of legs apart (2^64 by the golden ratio; Knuth, volume 3, section 6.4).
_GOLDEN = 0x9E3779B97F4A7C15
_SEEDS = 2**63


class Request(Job):
    """A completion: the core's thread calls `add` and `fail`, the caller's loop `pieces` and `cancel`."""

    def __init__(
        self,
        prompt: list[int],
        sampling: Sampling,
        *,
        seed: int,
        most: int,
        ends: frozenset[int],
        schema: str,
        decoder: Decoder,
        stops: StopWatch,
        whole: bool = False,
    ) -> None:
        """For the running event loop; as a `Job`, with a seed and a JSON schema that may be empty."""
        super().__init__(prompt, sampling, most=most, ends=ends, decoder=decoder, stops=stops, whole=whole)
        self.schema = schema
        self.ends: Sequence[int] = sorted(ends)
        self.on_cancel: Callable[[], None] | None = None
        self._seed = seed
        self._legs = 0

    @property
    def seed(self) -> int:
        """Of the next leg: the one that was asked for, and after an interruption one that follows from it."""
        return (self._seed + _GOLDEN * len(self.new)) % _SEEDS

    @property
    def left(self) -> int:
        """Most tokens that may follow."""
        return self._most - len(self.new)

    def begins(self, cached: int) -> None:
        """Is told that a leg begins, and how many tokens it took from the cache.

        Of a prompt that several legs read, those count that none of them had to read.
        """
        most = self.cached if self._legs else len(self.prompt)
        self.cached = min(cached, most)
        self._legs += 1

    def cancel(self) -> None:
        """Nobody reads on: vLLM gives its row to others."""
        super().cancel()
        if self.on_cancel is not None:
            self.on_cancel()
