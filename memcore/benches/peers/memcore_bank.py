"""memcore itself: a volatile bank of an in-memory store."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

import memcore
from peers import Hits, System
from workload import DIMENSIONS, Vectors

_BATCH = 500
_Embedder: TypeAlias = Literal["none", "external", "builtin"]


class MemcoreBank(System):
    """`embedder` is none (words only), external (the caller's vectors) or builtin."""

    def __init__(self, embedder: _Embedder) -> None:
        external: dict[str, Any] = (
            {"embedder_id": "bench", "dimensions": DIMENSIONS} if embedder == "external" else {}
        )
        self._external = bool(external)
        self.store = memcore.Store.in_memory()
        self._bank = self.store.create_bank("bench", durability="volatile", embedder=embedder, **external)
        self._first_id = 0
        self._count = 0
        self._server: memcore.Server | None = None

    def load(self, texts: Sequence[str], vectors: Vectors) -> None:
        for start in range(0, len(texts), _BATCH):
            end = min(start + _BATCH, len(texts))
            vector_of = vectors.__getitem__ if len(vectors) else lambda _: None
            applied = self._bank.apply([self._insert(texts[i], vector_of(i)) for i in range(start, end)])
            ids = [result.memory.id for result in applied.results if result.memory]
            self._first_id = self._first_id or ids[0]
            assert ids == list(range(self._first_id + start, self._first_id + end))
        self._count = len(texts)
        self.store.wait_for_upkeep()

    def add(self, text: str, vector: Vectors | None) -> None:
        self._bank.apply([self._insert(text, vector)])
        self._count += 1

    def replace(self, text: str) -> None:
        last = self._first_id + self._count - 1
        [result] = self._bank.apply([memcore.Update("semantic", last, text)]).results
        assert result.memory, result.error

    def commit(self) -> None:
        """Nothing to do: what is written is found."""

    def words(self, query: str, limit: int) -> Hits:
        [hits] = self._bank.search([query], limit=limit, method="words")
        return hits

    def words_many(self, queries: Sequence[str], limit: int) -> Sequence[Hits]:
        return self._bank.search(queries, limit=limit, method="words")

    def vector(self, query: Vectors, limit: int) -> Hits:
        [hits] = self._bank.search([""], limit=limit, method="vector", embeddings=query[np.newaxis])
        return hits

    def hybrid(self, query: str, vector: Vectors, limit: int) -> Hits:
        [hits] = self._bank.search([query], limit=limit, method="hybrid", embeddings=vector[np.newaxis])
        return hits

    def positions(self, hits: Hits) -> list[int]:
        return [hit.memory.id - self._first_id for hit in hits]

    def serve(self, queries: Sequence[str]) -> str:
        self._server = memcore.serve(self.store)
        return self._server.address

    def _insert(self, text: str, vector: Vectors | None) -> memcore.Insert:
        if not self._external:
            return memcore.Insert("semantic", text)
        return memcore.Insert("semantic", text, embedding=vector)


def open_system(_directory: Path, embedder: _Embedder = "none") -> System:
    """A bank in RAM."""
    return MemcoreBank(embedder)
