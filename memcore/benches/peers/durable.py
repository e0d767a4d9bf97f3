"""64 writers, each of whom waits until its write is on disk. What can share a sync does.

Where writes cannot overlap (one SQLite connection, a shard that holds the GIL) one comes after the other.
"""

import os
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import memcore
from peers import Durability, System

WRITERS = 64
_EACH = 20


class Durable(System):
    """Not a search system: it only writes. This one is the floor: one bare sync for all writers."""

    durability: Durability = "synced"
    # How many texts one call of `write` takes.
    at_once = WRITERS

    def __init__(self, directory: Path) -> None:
        self._file = os.open(directory / "plain", os.O_CREAT | os.O_WRONLY)
        self._positions = count()

    def write(self, texts: Sequence[str]) -> None:
        """Writes these texts and returns when all are on disk."""
        os.pwrite(self._file, b"x" * 256, next(self._positions) * 256)
        os.fdatasync(self._file)

    def held(self) -> int:
        """How many texts are on disk, as another reader sees it."""
        return os.fstat(self._file).st_size // 256 * WRITERS


class Memcore(Durable):
    """64 Python threads, each of which writes one memory after another."""

    at_once = WRITERS * _EACH

    def __init__(self, directory: Path) -> None:
        self._database = directory / "memory.db"
        self._bank = memcore.Store.open(directory).create_bank("bench", durability="synced", embedder="none")
        self._writers = ThreadPoolExecutor(WRITERS)

    def write(self, texts: Sequence[str]) -> None:
        list(self._writers.map(self._several, [texts[n::WRITERS] for n in range(WRITERS)]))

    def held(self) -> int:
        return _rows(self._database, "records")

    def _several(self, texts: Sequence[str]) -> None:
        for text in texts:
            self._bank.apply([memcore.Insert("semantic", text)])


class Sqlite(Durable):
    """One transaction per write, write-ahead log, synchronous=FULL."""

    def __init__(self, directory: Path) -> None:
        self._database = directory / "memories.db"
        self._connection = sqlite3.connect(self._database, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute("CREATE TABLE memories (id INTEGER PRIMARY KEY, text TEXT)")

    def write(self, texts: Sequence[str]) -> None:
        for text in texts:
            self._connection.execute("INSERT INTO memories(text) VALUES (?)", (text,))

    def held(self) -> int:
        return _rows(self._database, "memories")


class SqliteGroup(Sqlite):
    """One transaction for all: what the rows alone cost a group commit."""

    def write(self, texts: Sequence[str]) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        super().write(texts)
        self._connection.execute("COMMIT")


class Qdrant(Durable):
    """An upsert and a flush; one write per step, since 64 take seconds."""

    at_once = 1

    def __init__(self, directory: Path) -> None:
        from peers.qdrant_edge_shard import QdrantEdge

        self._shard = QdrantEdge(directory / "shard", sparse=False, wal=True)

    def write(self, texts: Sequence[str]) -> None:
        for text in texts:
            self._shard.add(text, None)
            self._shard.commit()

    def held(self) -> int:
        return self._shard.count()


def _rows(database: Path, table: str) -> int:
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        [(rows,)] = connection.execute(f"SELECT count(*) FROM {table}")
    return rows


_KINDS: dict[str, Callable[[Path], Durable]] = {
    "floor": Durable,
    "memcore": Memcore,
    "sqlite": Sqlite,
    "sqlite_group": SqliteGroup,
    "qdrant": Qdrant,
}


def open_system(directory: Path, kind: str) -> System:
    """Something that writes durably to the directory."""
    return _KINDS[kind](directory)
