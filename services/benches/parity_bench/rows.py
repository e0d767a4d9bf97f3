"""A line of the parity table, and what it may be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from memalpha.policy.served import largest

# float32 is what the contract is about; bfloat16 is compared with float32, and rounds.
ALLOWED = {"float32": 1e-4, "bfloat16": 5e-2}
# Share of the prompts' tokens that must be cached for a cache to be warm.
WARM = 0.5


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table; differences of logprobs, absolute."""

    engine: str
    dtype: str
    head: str
    weights: str
    cache: str
    tokens: int
    prompt_tokens: int
    cached_tokens: int
    largest: float
    mean: float

    @classmethod
    def of(
        cls,
        cell: tuple[str, str, str, str, str],
        off: Sequence[float],
        prompt_tokens: int,
        cached_tokens: int,
    ) -> Row:
        """Of the differences of all tokens in a cell: engine, precision, head, weights and cache."""
        mean = sum(off) / len(off)
        return cls(*cell, len(off), prompt_tokens, cached_tokens, largest(off), mean)

    @property
    def warm(self) -> float:
        """Share of the prompts' tokens whose keys and values were cached."""
        return self.cached_tokens / self.prompt_tokens

    @property
    def is_allowed(self) -> bool:
        """Whether it is near enough, and the cache was what the line says."""
        warm = self.warm > WARM if self.cache == "warm" else self.cached_tokens == 0
        return warm and self.largest <= ALLOWED[self.dtype]

    def __str__(self) -> str:
        """The line as it is printed while others are still made."""
        return (
            f"{self.engine}, {self.dtype}, {self.head}, {self.weights} an exchange, cache {self.cache}:"
            f" largest {self.largest:.1e}, mean {self.mean:.1e} over {self.tokens} tokens; {self.warm:.0%} of"
            " prompts cached"
        )
