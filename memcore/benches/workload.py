"""Texts to measure on: a seeded vocabulary with Zipf frequencies, so that every run and peer sees the same.

A memory has 30 words, about 40 o200k tokens; a query has six words that occur in the corpus.
"""

import random
from dataclasses import dataclass

_SYLLABLES = ("ba", "ce", "di", "fo", "gu", "ka", "le", "mi", "no", "pu", "ra", "se", "ti", "vo", "zu")
_VOCABULARY = 8_000
_WORDS_PER_MEMORY = 30
_TERMS_PER_QUERY = 6


@dataclass(frozen=True)
class Workload:
    """Memories to store and queries to ask."""

    memories: list[str]
    queries: list[str]


def make(memories: int, queries: int, seed: int = 1) -> Workload:
    """The workload of that size; the same for the same seed."""
    rng = random.Random(seed)
    words = sorted({"".join(rng.choices(_SYLLABLES, k=rng.randint(2, 4))) for _ in range(_VOCABULARY)})
    rng.shuffle(words)
    weights = [1 / (rank + 1) for rank in range(len(words))]
    texts = [" ".join(rng.choices(words, weights, k=_WORDS_PER_MEMORY)) for _ in range(memories)]
    asked = [" ".join(rng.sample(rng.choice(texts).split(), _TERMS_PER_QUERY)) for _ in range(queries)]
    return Workload(texts, asked)
