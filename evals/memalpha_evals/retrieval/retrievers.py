"""Systems that find turns of a conversation: ways to search our store, and a library to measure it against.

Each sees the same texts, knows one conversation at a time, and ranks its turns for a question; equal scores
keep the order of the conversation. Search by words leaves out turns that share no term with the question.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
import snowballstemmer
from rank_bm25 import BM25Okapi

import memcore
from memalpha_evals.datasets import DatasetError, Turn
from memalpha_evals.retrieval.encoders import Encoder, MiniLM

DEPTH = 100
"""Most turns of one ranking. The engine fuses at least this many of each list: a shorter one is its head."""

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


class TurnBank:
    """A volatile bank with one episodic memory for each turn; `filled` opens one."""

    _OPERATIONS = 1000  # most of one call
    _QUERIES = 100

    def __init__(self, bank: memcore.Bank, encoder: Encoder | None) -> None:
        """Holds an empty bank, whose embedder is `encoder` if there is one."""
        self._bank = bank
        self._encoder = encoder
        self._turn_ids: dict[int, list[str]] = {}

    def fill(self, turns: Sequence[Turn]) -> None:
        """Inserts the turns; a memory stands for all turns of one text, which a bank holds once."""
        same: dict[str, list[Turn]] = {}
        for turn in turns:
            same.setdefault(turn.text, []).append(turn)
        for batch in batched(same.values(), self._OPERATIONS):
            inserts = [memcore.Insert("episodic", first.text, event_time=first.time) for first, *_ in batch]
            memory_ids = []
            for alike, result in zip(batch, self._bank.apply(inserts).results, strict=True):
                if result.memory is None:
                    message = result.error.message if result.error else "no reason given"
                    raise DatasetError(f"turn {alike[0].id} cannot be stored: {message}")
                memory_ids.append(result.memory.id)
                self._turn_ids[result.memory.id] = [turn.id for turn in alike]
            if self._encoder is not None:
                vectors = self._encoder.encode([first.text for first, *_ in batch])
                self._bank.put_vectors(memory_ids, vectors.data)

    def search(self, questions: Sequence[str], *, limit: int, **options: Any) -> list[list[str]]:
        """Ids of the first `limit` turns for each question; `options` are those of `memcore.Bank.search`."""
        found = []
        for queries in batched(questions, self._QUERIES):
            if self._encoder is not None:
                options["embeddings"] = self._encoder.encode(queries)
            for hits in self._bank.search(queries, limit=limit, **options):
                found.append([id_ for hit in hits for id_ in self._turn_ids[hit.memory.id]][:limit])
        return found


@contextmanager
def filled(
    turns: Sequence[Turn], embedder: Literal["builtin", "none"] | Encoder, language: str = "en"
) -> Iterator[TurnBank]:
    """A bank in memory that holds the turns and, unless the embedder is none, their vectors."""
    settings: dict[str, Any] = {"embedder": embedder, "language": language}
    encoder = None
    if not isinstance(embedder, str):
        encoder = embedder
        settings |= {"embedder": "external", "embedder_id": encoder.id, "dimensions": encoder.dimensions}
    with memcore.Store.in_memory() as store:
        bank = TurnBank(store.create_bank("conversation", durability="volatile", **settings), encoder)
        bank.fill(turns)
        store.wait_for_upkeep()
        yield bank


@dataclass(frozen=True, slots=True)
class Memcore:
    """Our store, searched with `options` of `memcore.Bank.search`; without any, as it is unless told.

    `language` is the analyzer's; `none` has neither stemmer nor stop words.
    """

    name: str
    about: str
    options: Mapping[str, Any]
    embedder: Literal["builtin", "none"] | Encoder = "builtin"
    language: str = "en"

    def rank(self, turns: Sequence[Turn], questions: Sequence[str]) -> list[list[str]]:
        """As `Retriever.rank`."""
        with filled(turns, self.embedder, self.language) as bank:
            return bank.search(questions, limit=DEPTH, **self.options)


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


@cache
def minilm() -> Encoder:
    """The one MiniLM of this process, so that its systems share what it encoded."""
    return MiniLM()


ALONE: Mapping[str, float] = {"context_weight": 0.0, "date_weight": 0.0}
"""Options by which neither a memory's neighbours nor its date count."""

WORDS: Mapping[str, Any] = {"method": "words", **ALONE}
VECTORS: Mapping[str, Any] = {"method": "vector", **ALONE}
FUSED: Mapping[str, Any] = {"method": "hybrid", **ALONE}

SYSTEMS: Mapping[str, Callable[[], Retriever]] = {
    "words": lambda: Memcore("words", "BM25 of the memory engine, its English analyzer", WORDS, "none"),
    "plain": lambda: Memcore("plain", "as words, every word as it is written", WORDS, "none", "none"),
    "vectors": lambda: Memcore("vectors", "cosine of the built-in embedder's vectors", VECTORS),
    "fused": lambda: Memcore("fused", "words and built-in vectors, each memory for itself", FUSED),
    "hybrid": lambda: Memcore("hybrid", "the engine unless told: words, vectors, neighbours and dates", {}),
    "minilm": lambda: Memcore("minilm", "cosine of all-MiniLM-L6-v2's vectors", VECTORS, minilm()),
    "hybrid-minilm": lambda: Memcore("hybrid-minilm", "as hybrid, with MiniLM's vectors", {}, minilm()),
    "rank_bm25": Okapi,
}
"""The systems by name, each made when it is asked for."""


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
