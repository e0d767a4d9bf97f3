"""What one conversation gives: a context for each question, by row and budget.

The extractive policy memorizes the chunks through the agent's own loop; passages are the same chunks, cut;
the oracle's context is packed from the evidence alone. All three go through the packing of recall.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import memcore
from memalpha.agent import AgentSettings
from memalpha.agent.context import pack_context
from memalpha.api.memory.v1alpha1.memory_pb2 import Durability, Memory, MemoryType
from memalpha.client import AsyncMemoryClient
from memalpha.tasks.instance import Chunk, Instance, Question
from memalpha.tasks.memorized import InlineTransport, memorize
from memalpha_evals.construct.writers import extractive
from memalpha_evals.datasets import DatasetError
from memalpha_evals.packed.questions import Asked, text_of
from memalpha_evals.protocols import Context
from memalpha_evals.streams import Stream, StreamChunk
from memalpha_evals.systems.rag import cut
from memalpha_evals.systems.recalled import recalled

PASSAGE_TOKENS = 128
"""Most of a passage: at least one fits the smallest budget."""

ROWS = {
    "oracle": "the evidence itself, cut as the passages are",
    "extractive": "memories of the extractive policy, which may write as much as it reads",
    "passages": f"the stream cut into passages of {PASSAGE_TOKENS} tokens",
    "shuffled": "the extractive policy's memories of a conversation half the set away",
    "none": "no memory",
}
STORING = ("extractive", "passages")
"""Rows that store something of the stream."""

Shown = Mapping[tuple[str, int], Sequence[Context]]
"""By row and budget, a context for each question."""


@dataclass(frozen=True, slots=True)
class Task:
    """A conversation as it is memorized, and what it is asked."""

    stream: Stream
    asked: tuple[Asked, ...]


async def contexts(task: Task, other: Task, budgets: Sequence[int]) -> Shown:
    """All contexts that come of a conversation's memories.

    Those of the row `shuffled` are for the questions of the `other` conversation.
    """
    with memcore.Store.in_memory() as store:
        written = await _memorized(store, task.stream)
        extracted = await _shown(written, task.asked, budgets)
        shuffled = await _shown(written, other.asked, budgets)
    with memcore.Store.in_memory() as store:
        passages = await _shown(_filled(store, task.stream), task.asked, budgets)
    oracle = {budget: [_oracle(each, budget) for each in task.asked] for budget in budgets}
    nothing = {budget: [Context("", 0, 0)] * len(task.asked) for budget in budgets}
    rows = zip(ROWS, (oracle, extracted, passages, shuffled, nothing), strict=True)
    return {(row, budget): found for row, by_budget in rows for budget, found in by_budget.items()}


@dataclass(frozen=True, slots=True)
class _Bank:
    client: AsyncMemoryClient
    bank_id: str


async def _shown(bank: _Bank, asked: Sequence[Asked], budgets: Sequence[int]) -> dict[int, list[Context]]:
    return {
        budget: [await recalled(bank.client, bank.bank_id, each.text, budget) for each in asked]
        for budget in budgets
    }


async def _memorized(store: memcore.Store, of: Stream) -> _Bank:
    chunks = tuple(Chunk(chunk.text, chunk.event_time) for chunk in of.chunks)
    settings = AgentSettings()
    bank = settings.bank_settings(None)
    bank.durability = Durability.DURABILITY_VOLATILE
    instance = Instance(of.id, "packed", chunks, (Question("-", ("-",), "strict"),))
    found = await memorize(store, instance, extractive(1), settings, bank)
    if found.bank.cursor != len(chunks):
        raise DatasetError(f"conversation {of.id}: a chunk was not memorized")
    store.wait_for_upkeep()
    return _Bank(found.client, found.bank.bank_id)


def _filled(store: memcore.Store, of: Stream) -> _Bank:
    bank = store.create_bank("passages", durability="volatile", embedder="builtin")
    for chunk in of.chunks:
        passages = cut(chunk, PASSAGE_TOKENS)
        inserts = [memcore.Insert("episodic", each.text, each.event_time) for each in passages]
        for result in bank.apply(inserts).results:
            # A bank holds a text once.
            if result.error is not None and result.error.reason != "DUPLICATE_CONTENT":
                raise DatasetError(f"conversation {of.id}: a passage was not stored: {result.error.message}")
    store.wait_for_upkeep()
    return _Bank(AsyncMemoryClient(InlineTransport(store)), "passages")


def _oracle(asked: Asked, budget: int) -> Context:
    packed = pack_context("", list(_evidence(asked)), (), asked.text, budget)
    return Context(packed.text, packed.tokens, 0)


def _evidence(asked: Asked) -> Iterator[Memory]:
    """The evidence as memories, in order of the stream: what does not fit is the end of it."""
    turns = (StreamChunk(text_of(turn), turn.time, 0) for turn in asked.evidence)
    pieces = (piece for turn in turns for piece in cut(turn, PASSAGE_TOKENS))
    for number, piece in enumerate(pieces, start=1):
        yield Memory(
            id=number,
            type=MemoryType.MEMORY_TYPE_EPISODIC,
            content=piece.text,
            event_time=piece.event_time,
        )
