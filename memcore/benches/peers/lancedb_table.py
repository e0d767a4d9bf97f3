"""LanceDB: a table in a directory. What is added later is scanned without the index until `optimize`.

LANCE_IO_THREADS must not be 1: version 0.40 then hangs.
"""

import os
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("RUST_LOG", "error")

import lancedb
import numpy as np
import pyarrow as pa
from lancedb.index import FTS

from peers import Hits, System
from workload import DIMENSIONS, Vectors

_SCHEMA = pa.schema(
    [("position", pa.int64()), ("text", pa.string()), ("vector", pa.list_(pa.float32(), DIMENSIONS))]
)
_NO_VECTORS: Vectors = np.empty((0, DIMENSIONS), np.float32)


class LanceDb(System):
    durability = "buffered"

    def __init__(self, directory: Path, words: bool) -> None:
        self._words = words
        self._table = lancedb.connect(directory).create_table("memories", schema=_SCHEMA)
        self._count = 0

    def load(self, texts: Sequence[str], vectors: Vectors) -> None:
        self._add(texts, vectors)
        if self._words:
            self._table.create_index("text", config=FTS(with_position=False))

    def add(self, text: str, vector: Vectors | None) -> None:
        self._add([text], _NO_VECTORS if vector is None else vector)

    def replace(self, text: str) -> None:
        self._table.update(where=f"position = {self._count - 1}", values={"text": text})

    def commit(self) -> None:
        self._table.optimize()

    def words(self, query: str, limit: int) -> Hits:
        found = self._table.search(query, query_type="fts", fts_columns="text")
        return found.select(["position", "_score"]).limit(limit).to_arrow()["position"].to_pylist()

    def vector(self, query: Vectors, limit: int) -> Hits:
        found = self._table.search(query, query_type="vector", vector_column_name="vector").distance_type(
            "dot"
        )
        return found.select(["position", "_distance"]).limit(limit).to_arrow()["position"].to_pylist()

    def _add(self, texts: Sequence[str], vectors: Vectors) -> None:
        positions = range(self._count, self._count + len(texts))
        self._count += len(texts)
        self._table.add(
            pa.table([pa.array(positions), pa.array(texts), _column(vectors, len(texts))], schema=_SCHEMA)
        )


def _column(vectors: Vectors, rows: int) -> pa.Array:
    if not len(vectors):
        return pa.nulls(rows, _SCHEMA.field("vector").type)
    return pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), DIMENSIONS)


def open_system(directory: Path, words: bool = False) -> System:
    """A new table."""
    return LanceDb(directory / "lance", words)
