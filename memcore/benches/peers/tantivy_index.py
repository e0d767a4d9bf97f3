"""tantivy-py with an index in RAM. A write is found after a commit and a reload."""

from collections.abc import Sequence
from pathlib import Path

import tantivy

from peers import Hits, System
from workload import Vectors

_HEAP = 64_000_000


class Tantivy(System):
    def __init__(self) -> None:
        schema = tantivy.SchemaBuilder()
        schema.add_integer_field("position", fast=True)
        schema.add_text_field("text", index_option="freq")
        self._index = tantivy.Index(schema.build())
        self._writer = self._index.writer(_HEAP, 1)
        self._count = 0
        self._searcher = self._index.searcher()

    def load(self, texts: Sequence[str], vectors: Vectors) -> None:
        for text in texts:
            self.add(text, None)
        self.commit()

    def add(self, text: str, vector: Vectors | None) -> None:
        self._writer.add_document(tantivy.Document(position=self._count, text=text))
        self._count += 1

    def commit(self) -> None:
        self._writer.commit()
        self._index.reload()
        self._searcher = self._index.searcher()

    def words(self, query: str, limit: int) -> Hits:
        parsed = self._index.parse_query(query, ["text"])
        hits = self._searcher.search(parsed, limit, count=False).hits
        return self._searcher.fast_field_values("position", [address for _, address in hits])


def open_system(_directory: Path) -> System:
    """An empty index."""
    return Tantivy()
