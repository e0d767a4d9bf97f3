"""From logits to tokens and their logprobs. Pure: the only state is the generator that a row brings.

A token is drawn by an exponential race: argmax of p / e with e = -log u ~ Exp(1), one u for each token of
the vocabulary (the Gumbel-max trick; Maddison et al., arXiv 1411.0030, section 2). Rounding differs a little
from batch to batch; the race turns a difference in probabilities into another token at most that often, where
searching a cumulative sum would add up the differences of a whole vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from memalpha.policy.checks import LEAST_TEMPERATURE
from memalpha.policy.local.libraries import torch


@dataclass(frozen=True, slots=True)
class Sampling:
    """How one row is sampled; the API's `SamplingParams` with every default filled in."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0

    @property
    def greedy(self) -> bool:
        """Whether the likeliest token is taken."""
        return self.temperature < LEAST_TEMPERATURE

    @property
    def truncated(self) -> bool:
        """Whether some tokens are left out."""
        return not self.greedy and (self.top_p < 1 or self.top_k > 0 or self.min_p > 0)


def logprobs(logits: Any, rows: Sequence[Sampling]) -> Any:
    """Log-probabilities (rows, vocabulary), float32, of the distributions that rows are sampled from.

    Temperature first, then the `top_k` likeliest, then the nucleus of what is left, then `min_p`, as in
    transformers. A greedy row is given the model's own distribution, at temperature 1.
    """
    divisors = torch.tensor([1.0 if row.greedy else row.temperature for row in rows], device=logits.device)
    scaled = torch.log_softmax(logits.float() / divisors[:, None], dim=-1)
    for place, row in enumerate(rows):
        if row.truncated:
            scaled[place] = torch.log_softmax(_truncated(scaled[place], row), dim=-1)
    return scaled


def draw(logits: Any, rows: Sequence[Sampling], generators: Sequence[Any]) -> tuple[list[int], list[float]]:
    """One token for each row of logits (rows, vocabulary), and its logprob."""
    scores = logprobs(logits, rows)
    tokens = (scores - _log_exponentials(scores, rows, generators)).argmax(dim=-1)
    return tokens.tolist(), scores.gather(-1, tokens[:, None])[:, 0].tolist()


def _log_exponentials(like: Any, rows: Sequence[Sampling], generators: Sequence[Any]) -> Any:
    """Logarithms (rows, vocabulary) of Exp(1) variates -log u; of a greedy row, all the same."""
    # In double precision u is 0 once in 2^53, which is infinitely late, and never so near to 1 that it ties.
    chances = torch.full(like.shape, 0.5, dtype=torch.float64, device=like.device)
    for chance, row, generator in zip(chances, rows, generators, strict=True):
        if not row.greedy:
            chance.uniform_(generator=generator)
    return chances.log_().neg_().log_()


def _truncated(scores: Any, row: Sampling) -> Any:
    """Scores (vocabulary) with those of left-out tokens at minus infinity; ties go to the lower id."""
    ranked, order = torch.sort(scores, descending=True, stable=True)
    if row.top_k:
        ranked[row.top_k :] = -torch.inf
    if row.top_p < 1:
        shares = torch.softmax(ranked, dim=-1)
        # A token stays if those before it do not reach the nucleus yet; the first one always does.
        ranked[shares.cumsum(-1) - shares >= row.top_p] = -torch.inf
    if row.min_p:
        ranked[ranked < ranked[0] + math.log(row.min_p)] = -torch.inf
    return torch.empty_like(scores).scatter_(-1, order, ranked)
