"""rank_bm25, Mem-alpha's library. Its index cannot grow: whatever is written needs a new one.

`rebuilt` is how the Mem-alpha reference searches: it tokenizes all memories and makes the index anew for each
query, so that it is never stale.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rank_bm25 import BM25Okapi

from exact import Formula
from peers import Hits, System
from workload import Vectors


class RankBm25(System):
    formula = Formula(idf="okapi", k1=1.5)

    def __init__(self, rebuilt: bool) -> None:
        self._rebuilt = rebuilt
        self._texts: list[str] = []
        self._index: BM25Okapi | None = None

    def load(self, texts: Sequence[str], vectors: Vectors) -> None:
        self._texts = list(texts)
        self.commit()

    def add(self, text: str, vector: Vectors | None) -> None:
        self._texts.append(text)

    def replace(self, text: str) -> None:
        self._texts[-1] = text

    def commit(self) -> None:
        self._index = BM25Okapi([re.findall(r"\b\w+\b", text.lower()) for text in self._texts])

    def words(self, query: str, limit: int) -> Hits:
        if self._rebuilt:
            self.commit()
        assert self._index
        scores = self._index.get_scores(re.findall(r"\b\w+\b", query.lower()))
        best = np.argpartition(scores, -limit)[-limit:]
        return best[np.argsort(-scores[best])]


def open_system(_directory: Path, rebuilt: bool = False) -> System:
    """An empty corpus."""
    return RankBm25(rebuilt)
