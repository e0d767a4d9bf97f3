"""What is stored and asked: seeded, so that every run and peer sees the same.

Words: invented, with Zipf frequencies; frequent ones are single tokens, as in language. No English
stemmer or stop list touches them, so that all systems see the same. A memory has 20 to 40 of them, about 40
o200k tokens; a query has six that occur together in a memory. They are drawn as they occur, so most memories
hold one of a query's words.

Vectors: 384 dimensions, unit length, clustered. Topics and what differs within a topic are both drawn with
variances that fall as 1/rank along random axes, as in embeddings of text. A query is a stored vector with
noise: their cosine is about 0.7.
"""

import random
from dataclasses import dataclass, field

import numpy as np
import snowballstemmer
from numpy.typing import NDArray

import memcore

DIMENSIONS = 384
QUERIES = 200
# More than all rounds of a row write.
FRESH = 4_000

_SYLLABLES = tuple(consonant + vowel for consonant in "bcdfghjklmnprstvwz" for vowel in "aeiou")
_VOCABULARY = 8_000
_LENGTHS = (20, 40)
_TERMS_PER_QUERY = 6
_TOPICS = 256

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Workload:
    """Memories to store, queries to ask, and memories to write meanwhile."""

    memories: list[str]
    queries: list[str]
    fresh: list[str]
    # One row each, C-contiguous; empty if not asked for.
    vectors: Vectors = field(default_factory=lambda: np.empty((0, DIMENSIONS), np.float32))
    query_vectors: Vectors = field(default_factory=lambda: np.empty((0, DIMENSIONS), np.float32))
    fresh_vectors: Vectors = field(default_factory=lambda: np.empty((0, DIMENSIONS), np.float32))


def make(memories: int, *, vectors: bool = False, seed: int = 1) -> Workload:
    """The workload of that size; the same for the same seed."""
    rng = random.Random(seed)
    words = _vocabulary(rng)
    cumulative = list(np.cumsum([1 / (rank + 1) for rank in range(len(words))]))

    def text() -> str:
        return " ".join(rng.choices(words, cum_weights=cumulative, k=rng.randint(*_LENGTHS)))

    stored = [text() for _ in range(memories)]
    asked = [
        " ".join(rng.sample(sorted(set(rng.choice(stored).split())), _TERMS_PER_QUERY))
        for _ in range(QUERIES)
    ]
    fresh = [f"{text()} {probe(i)}" for i in range(FRESH)]
    if not vectors:
        return Workload(stored, asked, fresh)
    drawn = _vectors(memories + FRESH, seed)
    near = _noisy(drawn[np.random.default_rng(seed + 1).integers(0, memories, QUERIES)], seed)
    return Workload(stored, asked, fresh, drawn[:memories], near, drawn[memories:])


def probe(i: int) -> str:
    """A word that occurs in the i-th fresh memory only."""
    return f"qx{i}qx"


def _vocabulary(rng: random.Random) -> list[str]:
    """Most frequent first."""
    stemmer = snowballstemmer.stemmer("english")
    words: set[str] = set()
    while len(words) < _VOCABULARY:
        word = "".join(rng.choices(_SYLLABLES, k=rng.randint(2, 3)))
        # "have", "here", "more": stop words of this form end in e.
        if stemmer.stemWord(word) == word and not word.endswith("e"):
            words.add(word)
    ordered = sorted(words)
    rng.shuffle(ordered)
    return sorted(ordered, key=lambda word: memcore.count_tokens(f" {word}"))


def _vectors(count: int, seed: int) -> Vectors:
    rng = np.random.default_rng(seed)
    topics = _skewed(rng, _TOPICS)
    weights = 1 / np.arange(1, _TOPICS + 1)
    chosen = rng.choice(_TOPICS, count, p=weights / weights.sum())
    return _unit(topics[chosen] + _skewed(rng, count))


def _noisy(vectors: Vectors, seed: int) -> Vectors:
    return _unit(vectors + _skewed(np.random.default_rng(seed + 2), len(vectors)))


def _skewed(rng: np.random.Generator, count: int) -> Vectors:
    """Rows of length 1 whose variance falls as 1/rank along axes that are the same in every call."""
    scale = 1 / np.sqrt(np.arange(1, DIMENSIONS + 1))
    axes, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((DIMENSIONS, DIMENSIONS)))
    return _unit((rng.standard_normal((count, DIMENSIONS), np.float32) * scale.astype(np.float32)) @ axes)


def _unit(rows: NDArray[np.floating]) -> Vectors:
    return np.ascontiguousarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)
