"""Systems that find turns of a conversation: our store, and the library that it is measured against.

Each sees the same texts, knows one conversation at a time, and ranks the turns that share a term with the
question; equal scores keep the order of the conversation.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Protocol, TypeVar

import numpy as np
import snowballstemmer
from rank_bm25 import BM25Okapi

import memcore
from memalpha_evals.datasets import DatasetError, Turn

DEPTH = 1000
"""Most turns of one ranking: as many as one search of the store returns."""

T = TypeVar("T")


class Retriever(Protocol):
    """A system under test. Called once for each conversation."""

    @property
    def name(self) -> str:
        """What reports call it."""
        ...

    @property
    def about(self) -> str:
        """How it works, in a line."""
        ...

    def rank(self, turns: Sequence[Turn], questions: Sequence[str]) -> list[list[str]]:
        """Ranks turns for each question: at most `DEPTH` turn ids, best first, each once."""
        ...


class Memcore:
    """Our store: a volatile bank with one episodic memory for each turn."""

    name = "memcore"
    about = "BM25 of the memory engine, its English analyzer, one memory per turn"

    _BATCH = 1000  # most operations of one call, and most queries

    def rank(self, turns: Sequence[Turn], questions: Sequence[str]) -> list[list[str]]:
        """As `Retriever.rank`."""
        with memcore.Store.in_memory() as store:
            bank = store.create_bank("conversation", durability="volatile")
            ids = self._store(bank, turns)
            found = (
                hits
                for queries in batched(questions, self._BATCH)
                for hits in bank.search(queries, limit=DEPTH)
            )
            return [[id_ for hit in hits for id_ in ids[hit.memory.id]][:DEPTH] for hits in found]

    def _store(self, bank: memcore.Bank, turns: Sequence[Turn]) -> dict[int, list[str]]:
        """Inserts the turns; a memory stands for all turns of one text, which a bank holds once."""
        same: dict[str, list[Turn]] = {}
        for turn in turns:
            same.setdefault(turn.text, []).append(turn)
        ids: dict[int, list[str]] = {}
        for batch in batched(same.values(), self._BATCH):
            inserts = [memcore.Insert("episodic", first.text, event_time=first.time) for first, *_ in batch]
            for alike, result in zip(batch, bank.apply(inserts).results, strict=True):
                if result.memory is None:
                    message = result.error.message if result.error else "no reason given"
                    raise DatasetError(f"turn {alike[0].id} cannot be stored: {message}")
                ids[result.memory.id] = [turn.id for turn in alike]
        return ids


class Okapi:
    """The baseline: rank_bm25's BM25Okapi, k1 1.5 and b 0.75, over Porter stems without function words."""

    name = "rank_bm25"
    about = "BM25Okapi of rank_bm25 over Porter stems, without function words"

    def __init__(self) -> None:
        """Holds the stemmer."""
        self._stemmer = snowballstemmer.stemmer("porter")

    def rank(self, turns: Sequence[Turn], questions: Sequence[str]) -> list[list[str]]:
        """As `Retriever.rank`."""
        index = BM25Okapi([self._terms(turn.text) or [""] for turn in turns])
        return [self._best(index, self._terms(question), turns) for question in questions]

    def _terms(self, text: str) -> list[str]:
        words = re.findall(r"\w+", text.lower())
        return self._stemmer.stemWords([word for word in words if word not in FUNCTION_WORDS])

    @staticmethod
    def _best(index: BM25Okapi, terms: list[str], turns: Sequence[Turn]) -> list[str]:
        order = np.argsort(-index.get_scores(terms), kind="stable")
        return [turns[place].id for place in order if index.doc_freqs[place].keys() & terms][:DEPTH]


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size` items in order, the last one shorter."""
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch


FUNCTION_WORDS = frozenset(
    word
    for group in (
        "a an the this that these those",
        "i you he she it we they me him her us them my your his its our their",
        "am is are was were be been do does did have has had",
        "what when where which who whose why how",
        "and or but if as at by for from in of on to with",
    )
    for word in group.split()
)
