"""SQLite's FTS5 through Python's sqlite3, in RAM."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from exact import Formula
from peers import Hits, System
from workload import Vectors

_SEARCH = "SELECT rowid FROM memories WHERE memories MATCH ? ORDER BY rank LIMIT ?"


class SqliteFts5(System):
    formula = Formula(idf="fts5")

    def __init__(self) -> None:
        self._connection = sqlite3.connect(":memory:")
        self._connection.execute("CREATE VIRTUAL TABLE memories USING fts5(text)")
        self._count = 0

    def load(self, texts: Sequence[str], vectors: Vectors) -> None:
        self._connection.executemany("INSERT INTO memories(rowid, text) VALUES (?, ?)", enumerate(texts))
        self._connection.commit()
        self._count = len(texts)

    def add(self, text: str, vector: Vectors | None) -> None:
        self._connection.execute("INSERT INTO memories(rowid, text) VALUES (?, ?)", (self._count, text))
        self._connection.commit()
        self._count += 1

    def replace(self, text: str) -> None:
        self._connection.execute("UPDATE memories SET text = ? WHERE rowid = ?", (text, self._count - 1))
        self._connection.commit()

    def commit(self) -> None:
        """Nothing to do: what is written is found."""

    def words(self, query: str, limit: int) -> Hits:
        return self._connection.execute(_SEARCH, (" OR ".join(query.split()), limit)).fetchall()

    def positions(self, hits: Hits) -> list[int]:
        return [position for (position,) in hits]


def open_system(_directory: Path) -> System:
    """An empty table."""
    return SqliteFts5()
