"""Retrieval over the raw stream: passages in a bank, found by words, by vectors or by both.

The stream is cut into passages at the ends of its lines; a question gets the best of them that fit, in order
of the stream. No model takes part. `rag-bm25` and `rag-dense` are the plain methods; `rag-hybrid` searches as
the engine does unless told, which is how `memalpha` is searched too: what differs is what is stored.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import memcore
from memalpha.agent.chunking import Turn, pack
from memalpha.errors import InternalError, make
from memalpha_evals.protocols import Context
from memalpha_evals.retrieval.retrievers import VECTORS, WORDS
from memalpha_evals.streams import AskedQuestion, Stream, StreamChunk
from memalpha_evals.systems.base import Design, SystemOptions
from memalpha_evals.systems.recording import Calls
from memalpha_evals.systems.shown import Stretch, best
from memcore import count_tokens

MOST_HITS = 1000
_TIME_LINE = re.compile(r"\[(\d{4}-\d{2}-\d{2}[^\]\s]{0,24})\]")


@dataclass(frozen=True, slots=True)
class _Way:
    about: str
    options: Mapping[str, Any]
    embedder: str


_WAYS = {
    "rag-bm25": _Way("the best passages of the stream by BM25", WORDS, "none"),
    "rag-dense": _Way("the best passages by cosine of the built-in embedder's vectors", VECTORS, "builtin"),
    "rag-hybrid": _Way("the best passages by words, vectors, neighbours and dates", {}, "builtin"),
}


def rag(name: str, options: SystemOptions) -> Design:
    """The system of that name."""
    way = _WAYS[name]

    async def begin(stream: Stream, asked: AskedQuestion | None, calls: Calls) -> _Passages:
        return _Passages(stream, way, options.passage_tokens)

    settings = {"passage_tokens": options.passage_tokens, "embedder": way.embedder, **way.options}
    return Design(name, way.about, begin, options, settings)


class _Passages:
    """A bank that holds one memory for each passage; of passages with the same text, the first."""

    def __init__(self, stream: Stream, way: _Way, passage_tokens: int) -> None:
        self._chunks = stream.chunks
        self._way = way
        self._passage_tokens = passage_tokens
        self._store = memcore.Store.in_memory()
        self._bank = self._store.create_bank("stream", durability="volatile", embedder=way.embedder)  # pyright: ignore[reportArgumentType]
        self._stretches: list[Stretch] = []
        self._places: dict[int, int] = {}

    async def read(self, place: int) -> None:
        passages = list(cut(self._chunks[place], self._passage_tokens))
        inserts = [memcore.Insert("episodic", each.text, each.event_time) for each in passages]
        results = self._bank.apply(inserts).results
        for passage, result in zip(passages, results, strict=True):
            if result.memory is not None:
                self._places[result.memory.id] = len(self._stretches)
                self._stretches.append(passage)
            elif result.error is None or result.error.reason != "DUPLICATE_CONTENT":
                said = result.error.message if result.error else "no reason given"
                raise make(
                    InternalError, "PASSAGE_REFUSED", f"chunk {place}: a passage cannot be stored: {said}"
                )

    async def context(self, asked: AskedQuestion, budget: int) -> Context:
        limit = min(MOST_HITS, max(1, len(self._stretches)))
        (hits,) = self._bank.search([asked.question.text], limit=limit, exact=True, **self._way.options)
        ranked = [self._places[hit.memory.id] for hit in hits]
        fitted = best(self._stretches, ranked, budget)
        stored = sum(each.tokens for each in self._stretches)
        return Context(fitted.text, fitted.tokens, stored, fitted.cut)

    async def close(self) -> None:
        self._store.close()


def cut(chunk: StreamChunk, tokens: int) -> Iterator[Stretch]:
    """The chunk's lines in passages of at most so many tokens, each with the time of its first line."""
    for passage in pack(_lines(chunk), max_tokens=tokens):
        yield Stretch(passage.text, passage.event_time, count_tokens(passage.text))


def _lines(chunk: StreamChunk) -> Iterator[Turn]:
    time = chunk.event_time
    for line in chunk.text.split("\n"):
        found = _TIME_LINE.fullmatch(line)
        if found:
            time = found[1]
        else:
            yield Turn(line, event_time=time)
