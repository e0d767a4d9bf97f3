"""The table: what is measured, of whom, and what it should reach (design 02 of memcore, at the bottom).

Rows of one group are loaded together and take turns. A ratio compares a peer's p50 (or CPU time) with that of
memcore's first row of the same work.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from peers import Source, System
from work import Ready, adds, counter, floors, opening, rpc, synced, vectors, words
from workload import Workload

# One core holds this many memories in the rows without a size of their own.
_HELD = 10_000
_LARGE = 100_000

_WORDS = Source("memcore", "memcore_bank", "memalpha-memcore")
_EXTERNAL = Source("memcore, caller's vectors", "memcore_bank", "memalpha-memcore", {"embedder": "external"})
_BUILTIN = Source("memcore, built-in embedder", "memcore_bank", "memalpha-memcore", {"embedder": "builtin"})
_STORE = Source("memcore", "memcore_store", "memalpha-memcore")
_BM25S = Source("bm25s", "bm25s_scores", "bm25s")
_FAISS = Source("faiss flat", "faiss_flat", "faiss-cpu")
_FTS5 = Source("SQLite FTS5", "sqlite_fts5")
_GRPCIO = Source("grpcio aio, canned reply", "grpcio_canned", "grpcio")
_LANCE = Source("LanceDB", "lancedb_table", "lancedb")
_LANCE_WORDS = Source("LanceDB", "lancedb_table", "lancedb", {"words": True})
_LANGGRAPH = Source("LangGraph InMemoryStore", "langgraph_store", "langgraph-checkpoint")
_NUMPY = Source("numpy f32", "numpy_f32", "numpy")
_QDRANT = Source("qdrant-edge", "qdrant_edge_shard", "qdrant-edge-py")
_QDRANT_RAM = Source("qdrant-edge, no log", "qdrant_edge_shard", "qdrant-edge-py", {"wal": False})
_QDRANT_SPARSE = Source(
    "qdrant-edge, sparse vectors", "qdrant_edge_shard", "qdrant-edge-py", {"sparse": True}
)
_RANK = Source("rank_bm25, built before", "rank_bm25", "rank-bm25")
_REFERENCE = Source("rank_bm25, rebuilt per query (Mem-alpha)", "rank_bm25", "rank-bm25", {"rebuilt": True})
_TANTIVY = Source("tantivy-py", "tantivy_index", "tantivy")


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    work: str
    # Memories held when the timing starts.
    held: int
    source: Source
    prepare: Callable[[System, Workload], Ready]
    vectors: bool = False
    unit: Literal["µs", "%"] = "µs"
    # What target and ratio are about.
    by: Literal["p50", "cpu"] = "p50"
    # At most so many units; at least, if the unit is %.
    target: float | None = None
    # At most so many times the p50 of another row of the group.
    target_times: tuple[float, str] | None = None
    # At least so many times what memcore takes.
    ratio: float | None = None
    # Fewer than the others where one turn takes many seconds.
    rounds: int = 1_000
    # Why it is not measured.
    left_out: str = ""

    @property
    def name(self) -> str:
        """What `--only` is matched with."""
        return f"{self.work} | {self.held:,} | {self.source.name}"


def groups(sizes: Sequence[int], full: bool) -> list[list[Row]]:
    """All rows, by groups."""
    return [
        _adds(),
        _synced(),
        *([*_words(size)] for size in sizes),
        *([*_shown(size)] for size in sizes if size < _LARGE),
        *([*_vectors(size)] for size in sizes),
        _hybrid(),
        _unary(),
        _batched(),
        _counter(),
        _opening(1_000_000 if full else _LARGE),
        _floors(),
    ]


def _adds() -> list[Row]:
    def row(source: Source, target: float | None = None, ratio: float | None = None) -> Row:
        work = "add, searchable at once"
        return Row(work, _HELD, source, adds.add, vectors=True, target=target, ratio=ratio)

    return [
        row(_EXTERNAL, target=12),
        Row("add, searchable at once", _HELD, _BUILTIN, adds.add_text, target=60),
        Row(
            "add, searchable at once",
            _HELD,
            Source("memcore, words only", "memcore_bank", "memalpha-memcore"),
            adds.add_text,
        ),
        row(_QDRANT_RAM, ratio=2.5),
        row(_QDRANT),
        row(_LANCE, ratio=90),
        row(_LANGGRAPH),
        Row(
            "add, searchable at once",
            _HELD,
            Source("tantivy-py, commit", "tantivy_index", "tantivy"),
            adds.add_text,
            ratio=500,
        ),
    ]


def _synced() -> list[Row]:
    work = "64 durable adds by 64 writers"
    floor = "write + fdatasync, once for all"

    def row(name: str, package: str, kind: str, ratio: float | None = None) -> Row:
        source = Source(name, "durable", package, {"kind": kind})
        return Row(work, 0, source, synced.write, ratio=ratio)

    rust = Source("memcore, Rust threads", "memcore_store", "memalpha-memcore")
    return [
        Row(work, 0, rust, synced.write_from_rust, target_times=(4, floor)),
        row("memcore, Python threads", "memalpha-memcore", "memcore"),
        row(floor, "", "floor"),
        row("SQLite, a transaction each", "", "sqlite", ratio=15),
        row("SQLite, one transaction for all", "", "sqlite_group"),
        row("qdrant-edge, upsert + flush", "qdrant-edge-py", "qdrant", ratio=500),
    ]


def _words(size: int) -> list[Row]:
    work = "BM25 top-10, six terms"
    in_rust = {1_000: 5.0, 10_000: 25.0, 100_000: 200.0}.get(size)

    def row(
        source: Source, ratio: float | None = None, target: float | None = None, rounds: int = 1_000
    ) -> Row:
        return Row(work, size, source, words.search, target=target, ratio=ratio, rounds=rounds)

    python_call = 2.0
    return [
        row(_WORDS, target=in_rust and in_rust + python_call),
        row(_BM25S, ratio=3),
        row(_TANTIVY, ratio=2),
        row(_QDRANT, ratio=2),
        row(_QDRANT_SPARSE, ratio=2),
        row(_LANCE_WORDS),
        row(_FTS5),
        row(_RANK),
        row(_REFERENCE, ratio=10_000, rounds=1 if size >= _LARGE else 1_000),
        Row(f"{work}, 32 queries in a call", size, _WORDS, words.search_many),
        Row(f"{work}, 32 queries in a call", size, _QDRANT_SPARSE, words.search_many),
    ]


def _shown(size: int) -> list[Row]:
    """What a stale peer needs until a write is found."""
    sources = [_WORDS, _BM25S, _TANTIVY, _RANK, _LANCE_WORDS]
    return [Row("write, then rebuild or commit", size, source, words.show) for source in sources]


def _vectors(size: int) -> list[Row]:
    target = {1_000: 8.0, 10_000: 80.0, 100_000: 700.0}.get(size)

    def row(
        source: Source, ratio: float | None = None, target: float | None = None, left_out: str = ""
    ) -> Row:
        return Row(
            "vector top-10, 384-d",
            size,
            source,
            vectors.search,
            True,
            target=target,
            ratio=ratio,
            left_out=left_out,
        )

    too_slow = "left out: seconds per query, gigabytes of Python floats" if size >= _LARGE else ""
    return [
        row(_EXTERNAL, target=target),
        row(_NUMPY, ratio=2.5),
        row(_FAISS, ratio=3),
        row(_QDRANT, ratio=3),
        row(_LANCE, ratio=150),
        row(_LANGGRAPH, left_out=too_slow),
    ]


def _hybrid() -> list[Row]:
    work = "hybrid top-10"
    two = Source("qdrant-edge, two queries + fusion", "qdrant_edge_shard", "qdrant-edge-py", {"sparse": True})
    return [
        Row(work, _HELD, _EXTERNAL, vectors.hybrid, vectors=True, target=120),
        Row(work, _HELD, two, vectors.hybrid, vectors=True, ratio=3),
    ]


def _unary() -> list[Row]:
    work = "search RPC, server CPU"
    return [
        Row(work, 1_000, _WORDS, rpc.unary, by="cpu", target=20),
        Row(work, 1_000, _GRPCIO, rpc.unary, by="cpu", ratio=7),
    ]


def _batched() -> list[Row]:
    work = "search RPC of 32 queries, server CPU per query"
    return [
        Row(work, 1_000, _WORDS, rpc.batched, by="cpu", target=5),
        Row(work, 1_000, _GRPCIO, rpc.batched, by="cpu"),
    ]


def _counter() -> list[Row]:
    work = "rate that a Python thread keeps beside searches"
    return [
        Row(work, _HELD, _WORDS, counter.counter, unit="%", target=80),
        Row(work, _HELD, Source("sha256, the ceiling", "no_gil"), counter.counter, unit="%"),
        Row(work, _HELD, _QDRANT_SPARSE, counter.counter, unit="%"),
    ]


def _opening(memories: int) -> list[Row]:
    banks = f"{memories // opening.BANKED:,} banks"
    return [
        Row(f"open a store of {banks}", memories, _STORE, opening.open_store, target=1e6),
        Row(f"first search of a bank, of {banks}", memories, _STORE, opening.first_search, target=1e4),
    ]


def _floors() -> list[Row]:
    bytes_read = Source("numpy, a sum over the bytes", "numpy_f32", "numpy")
    return [
        Row("floor: a search in an empty bank", 1_000, _WORDS, floors.call),
        Row("floor: tokens of a memory", 1_000, _WORDS, floors.tokens),
        Row("floor: a byte per dimension, read", 1_000, bytes_read, floors.read),
        Row("floor: a byte per dimension, read", _HELD, bytes_read, floors.read),
    ]
