"""faiss: the flat index, one thread."""

from collections.abc import Sequence
from pathlib import Path

import faiss
import numpy as np

from peers import Hits, System
from workload import DIMENSIONS, Vectors


class FaissFlat(System):
    def __init__(self) -> None:
        faiss.omp_set_num_threads(1)
        self._index = faiss.IndexFlatIP(DIMENSIONS)

    def load(self, texts: Sequence[str], vectors: Vectors) -> None:
        self._index.add(vectors)

    def add(self, text: str, vector: Vectors | None) -> None:
        assert vector is not None
        self._index.add(vector[np.newaxis])

    def commit(self) -> None:
        """Nothing to do: what is written is found."""

    def vector(self, query: Vectors, limit: int) -> Hits:
        _, positions = self._index.search(query[np.newaxis], limit)
        return positions[0]


def open_system(_directory: Path) -> System:
    """An empty index."""
    return FaissFlat()
