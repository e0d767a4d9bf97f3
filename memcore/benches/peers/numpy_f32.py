"""numpy: the matrix times the query, and a partial sort; one thread."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from peers import Hits, System
from workload import DIMENSIONS, Vectors


class NumpyF32(System):
    def __init__(self) -> None:
        self._rows: Vectors = np.empty((0, DIMENSIONS), np.float32)

    def load(self, texts: Sequence[str], vectors: Vectors) -> None:
        self._rows = vectors.copy()

    def add(self, text: str, vector: Vectors | None) -> None:
        assert vector is not None
        self._rows = np.vstack((self._rows, vector))

    def commit(self) -> None:
        """Nothing to do: what is written is found."""

    def vector(self, query: Vectors, limit: int) -> Hits:
        scores = self._rows @ query
        best = np.argpartition(scores, -limit)[-limit:]
        return best[np.argsort(-scores[best])]


def open_system(_directory: Path) -> System:
    """An empty matrix."""
    return NumpyF32()
