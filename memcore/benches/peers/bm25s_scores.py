"""bm25s: scores of all terms are computed when the index is made. It cannot grow either."""

from collections.abc import Sequence
from pathlib import Path

import bm25s

from peers import Hits, System
from workload import Vectors


class Bm25s(System):
    def __init__(self) -> None:
        self._tokens: list[list[str]] = []
        self._index = bm25s.BM25()

    def load(self, texts: Sequence[str], vectors: Vectors) -> None:
        self._tokens = [text.split() for text in texts]
        self.commit()

    def add(self, text: str, vector: Vectors | None) -> None:
        self._tokens.append(text.split())

    def commit(self) -> None:
        self._index = bm25s.BM25(method="lucene", k1=1.2, b=0.75)
        self._index.index(self._tokens, show_progress=False)

    def words(self, query: str, limit: int) -> Hits:
        documents, _ = self._index.retrieve([query.split()], k=limit, show_progress=False)
        return documents[0]


def open_system(_directory: Path) -> System:
    """An empty corpus."""
    return Bm25s()
