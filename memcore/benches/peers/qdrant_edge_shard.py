"""qdrant-edge: a shard in a directory. Words are ranked by its text index or as sparse vectors.

A sparse vector's weights hold the average length that was configured, 256 by default, and stay as they are.
Without `wal` an update is in RAM until `flush`; with it, it is in the file system's cache.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import qdrant_edge as edge

from peers import Hits, System
from workload import DIMENSIONS, Vectors

_BATCH = 500
# As in the paper on reciprocal rank fusion, and Qdrant's own examples.
_RRF = 60


class QdrantEdge(System):
    def __init__(self, directory: Path, sparse: bool, wal: bool) -> None:
        directory.mkdir()
        self._sparse = sparse
        self.durability = "buffered" if wal else "volatile"
        self.approximate = "average length fixed at 256" if sparse else ""
        self._bm25 = edge.Bm25()
        self._count = 0
        self._shard = edge.EdgeShard.create(
            str(directory),
            edge.EdgeConfig(
                vectors={"dense": edge.EdgeVectorParams(size=DIMENSIONS, distance=edge.Distance.Dot)},
                sparse_vectors={"words": edge.EdgeSparseVectorParams(modifier=edge.Modifier.Idf)},
                wal_enabled=wal,
            ),
        )
        if not sparse:
            index = edge.TextIndexParams(scoring=True)
            self._shard.update(edge.UpdateOperation.create_field_index("text", index))

    def load(self, texts: Sequence[str], vectors: Vectors) -> None:
        for start in range(0, len(texts), _BATCH):
            end = min(start + _BATCH, len(texts))
            self._upsert([(texts[i], vectors[i] if len(vectors) else None) for i in range(start, end)])

    def add(self, text: str, vector: Vectors | None) -> None:
        self._upsert([(text, vector)])

    def replace(self, text: str) -> None:
        point = self._point(self._count - 1, text, None)
        self._shard.update(edge.UpdateOperation.upsert_points([point]))

    def commit(self) -> None:
        self._shard.flush()

    def words(self, query: str, limit: int) -> Hits:
        return self._shard.query(self._asks(query, limit))

    def words_many(self, queries: Sequence[str], limit: int) -> Sequence[Hits]:
        batch = edge.QueryBatchRequest([self._asks(query, limit) for query in queries])
        return self._shard.query_batch(batch)

    def vector(self, query: Vectors, limit: int) -> Hits:
        nearest = edge.Query.Nearest(query.tolist(), using="dense")
        return self._shard.query(edge.QueryRequest(limit=limit, query=nearest))

    def hybrid(self, query: str, vector: Vectors, limit: int) -> Hits:
        scores: dict[int, float] = {}
        for hits in (self.words(query, 2 * limit), self.vector(vector, 2 * limit)):
            for rank, hit in enumerate(hits, 1):
                scores[hit.id] = scores.get(hit.id, 0.0) + 1 / (_RRF + rank)
        return sorted(scores, key=scores.__getitem__, reverse=True)[:limit]

    def count(self) -> int:
        """How many memories it holds."""
        return self._shard.count(edge.CountRequest(exact=True))

    def positions(self, hits: Hits) -> list[int]:
        return [hit if isinstance(hit, int) else hit.id for hit in hits]

    def _asks(self, query: str, limit: int) -> edge.QueryRequest:
        if self._sparse:
            wanted = edge.Query.Nearest(self._bm25.embed_query(query), using="words")
        else:
            wanted = edge.TextQuery("text", query)
        return edge.QueryRequest(limit=limit, query=wanted)

    def _upsert(self, items: list[tuple[str, Vectors | None]]) -> None:
        points = [self._point(self._count + i, text, vector) for i, (text, vector) in enumerate(items)]
        self._count += len(points)
        self._shard.update(edge.UpdateOperation.upsert_points(points))

    def _point(self, position: int, text: str, vector: Vectors | None) -> edge.Point:
        vectors: dict[str, Any] = {} if vector is None else {"dense": vector.tolist()}
        if self._sparse:
            vectors["words"] = self._bm25.embed_document(text)
        return edge.Point(position, vectors, None if self._sparse else {"text": text})


def open_system(directory: Path, sparse: bool = False, wal: bool = True) -> System:
    """A new shard."""
    return QdrantEdge(directory / "shard", sparse, wal)
