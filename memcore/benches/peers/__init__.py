"""The systems compared, each behind the same few calls; one file each, which imports its library.

An adapter takes the system's cheapest way to the positions of what was found, with its defaults otherwise:
where a choice is open, it is made in the peer's favour. memcore returns whole memories.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, TypeAlias

from exact import Formula
from workload import Vectors

Durability: TypeAlias = Literal["volatile", "buffered", "synced"]
# As the system returns them; only its `positions` knows what they are.
Hits: TypeAlias = Collection[Any]


class UnavailableError(Exception):
    """The row cannot be measured here; the message says why, and the table shows it."""


class System:
    """An empty system; a row's worker fills it once, checks it and then times one of its calls.

    Memories are known by position: in order of loading, then of adding. A call that a system does not offer
    stays as it is here, and no row asks for it.
    """

    # What becomes of an acknowledged `add` when the process is killed (volatile: lost) or the machine stops
    # (buffered: lost).
    durability: Durability = "volatile"
    # The BM25 it claims.
    formula: Formula = Formula()
    # Why its words' or vectors' ranking is not exact although it looks so here, if it is not.
    approximate: str = ""

    def load(self, texts: Sequence[str], vectors: Vectors) -> None:
        """Stores all of these in the fastest way and makes them searchable. Vectors may be empty."""
        raise NotImplementedError

    def add(self, text: str, vector: Vectors | None) -> None:
        """Stores one more, as a user would who has one. Whether it is found before `commit` is measured."""
        raise NotImplementedError

    def replace(self, text: str) -> None:
        """Gives the last memory another text: the write between two searches, which keeps the size."""
        raise NotImplementedError

    def commit(self) -> None:
        """Makes all that was added searchable: rebuilds, commits, reloads or optimizes."""
        raise NotImplementedError

    def words(self, query: str, limit: int) -> Hits:
        """The best by words, as the system returns them."""
        raise NotImplementedError

    def vector(self, query: Vectors, limit: int) -> Hits:
        """The nearest to a vector, as the system returns them."""
        raise NotImplementedError

    def hybrid(self, query: str, vector: Vectors, limit: int) -> Hits:
        """The best by words and vector together."""
        raise NotImplementedError

    def words_many(self, queries: Sequence[str], limit: int) -> Sequence[Hits]:
        """Several queries in one call."""
        raise NotImplementedError

    def positions(self, hits: Hits) -> list[int]:
        """Which memories these hits are. Not timed."""
        return [int(hit) for hit in hits]

    def serve(self, queries: Sequence[str]) -> str:
        """Answers SearchMemories over gRPC; the address. `queries` are one call's, for a canned reply."""
        raise NotImplementedError


@dataclass(frozen=True)
class Source:
    """Where a system comes from."""

    # As the table shows it.
    name: str
    # A file of this folder, with `open_system(directory, **options)`.
    module: str
    # The distribution whose version is shown.
    package: str = ""
    options: Mapping[str, object] = field(default_factory=dict)

    def open(self, directory: Path) -> System:
        """An empty system that may write to the directory."""
        return import_module(f"peers.{self.module}").open_system(directory, **self.options)

    @property
    def version(self) -> str:
        """The installed version; empty if there is none."""
        try:
            return version(self.package) if self.package else ""
        except PackageNotFoundError:
            return ""
