"""LangGraph's InMemoryStore, where LangMem keeps memories. It embeds by a look-up: no model runs."""

from collections.abc import Sequence
from pathlib import Path

from langgraph.store.base import PutOp
from langgraph.store.memory import InMemoryStore

from peers import Hits, System
from workload import DIMENSIONS, Vectors

_SPACE = ("memories",)


class LangGraphStore(System):
    def __init__(self) -> None:
        self._vectors: dict[str, list[float]] = {}
        self._count = 0
        self._store = InMemoryStore(
            index={"dims": DIMENSIONS, "embed": self._embed, "fields": ["text"]},
        )

    def load(self, texts: Sequence[str], vectors: Vectors) -> None:
        self._vectors.update(zip(texts, vectors.tolist(), strict=True))
        self._store.batch([PutOp(_SPACE, str(i), {"text": text}) for i, text in enumerate(texts)])
        self._vectors.clear()
        self._count = len(texts)

    def add(self, text: str, vector: Vectors | None) -> None:
        assert vector is not None
        self._vectors[text] = vector.tolist()
        self._store.put(_SPACE, str(self._count), {"text": text})
        self._count += 1

    def commit(self) -> None:
        """Nothing to do: what is written is found."""

    def vector(self, query: Vectors, limit: int) -> Hits:
        self._vectors["query"] = query.tolist()
        return [hit.key for hit in self._store.search(_SPACE, query="query", limit=limit)]

    def _embed(self, texts: Sequence[str]) -> list[list[float]]:
        return [self._vectors[text] for text in texts]


def open_system(_directory: Path) -> System:
    """An empty store."""
    return LangGraphStore()
