"""The right answers, by brute force in double precision: what a row must find before it is timed."""

import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workload import Vectors

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Formula:
    """A BM25: peers differ in how they weigh a term's rarity, and each is held to its own formula."""

    # lucene: ln(1 + (N - df + 0.5) / (df + 0.5)). okapi (rank_bm25): without the 1, and a quarter of the
    # vocabulary's mean where it is negative. fts5 (SQLite): without the 1, and at least 1e-6.
    idf: str = "lucene"
    k1: float = 1.2
    b: float = 0.75


class Words:
    """Scores of all memories for each of a few queries."""

    def __init__(self, texts: Sequence[str], queries: Sequence[str], formula: Formula) -> None:
        self._formula = formula
        asked = {word for query in queries for word in query.split()}
        holders = Counter[str]()
        self._postings: dict[str, list[tuple[int, int]]] = {word: [] for word in asked}
        for position, text in enumerate(texts):
            words = text.split()
            distinct = set(words)
            holders.update(distinct)
            for word in distinct & asked:
                self._postings[word].append((position, words.count(word)))
        lengths = np.array([len(text.split()) for text in texts])
        self._norm = formula.k1 * (1 - formula.b + formula.b * lengths / lengths.mean())
        self._idf = _rarities(holders, len(texts), formula.idf)

    def scores(self, query: str) -> Scores:
        """One score for each memory."""
        scores = np.zeros(len(self._norm))
        for word in query.split():
            positions, counts = np.array(self._postings[word]).T
            saturated = counts / (counts + self._norm[positions])
            scores[positions] += self._idf[word] * (self._formula.k1 + 1) * saturated
        return scores


def _rarities(holders: Mapping[str, int], memories: int, idf: str) -> dict[str, float]:
    odds = {word: (memories - held + 0.5) / (held + 0.5) for word, held in holders.items()}
    if idf == "lucene":
        return {word: math.log(1 + value) for word, value in odds.items()}
    plain = {word: math.log(value) for word, value in odds.items()}
    if idf == "fts5":
        return {word: value if value > 0 else 1e-6 for word, value in plain.items()}
    floor = 0.25 * statistics.fmean(plain.values())
    return {word: value if value >= 0 else floor for word, value in plain.items()}


def products(vectors: Vectors, query: Vectors) -> Scores:
    """The query's inner product with each vector; blockwise, so that no double copy of all is made."""
    wide = query.astype(np.float64)
    blocks = [
        vectors[start : start + 8192].astype(np.float64) @ wide for start in range(0, len(vectors), 8192)
    ]
    return np.concatenate(blocks)


def overlap(scores: Scores, positions: Sequence[int], limit: int) -> float:
    """The share of the `limit` best that was found; whatever ties with the last of them counts as right."""
    last = np.partition(scores, -limit)[-limit]
    right = [position for position in set(positions) if scores[position] >= last - 1e-5 * abs(last)]
    return min(len(right), limit) / limit
