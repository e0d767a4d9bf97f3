"""From a stream to a memory to answers, through the real path.

Chunks go into a volatile bank of a store in RAM; the agent's own loop shows the view to the policy, parses
its text and applies the operations. A question is one search by words of the same bank. No model, no
network, and no thread: a bank in RAM answers sooner than another thread would wake up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from uuid import uuid4

import memcore
from memalpha.agent import Agent, AgentSettings, Policy
from memalpha.api.memory.v1alpha1.memory_pb2 import BankSettings, Durability, Embedder, EmbedderKind
from memalpha.api.memory.v1alpha1.memory_pb2 import Chunk as StoredChunk
from memalpha.api.memory.v1alpha1.memory_service_pb2 import (
    GetWriterViewRequest,
    RecentView,
    SearchMethod,
    SearchQuery,
)
from memalpha.client import AsyncMemoryClient
from memalpha.tasks.instance import Instance
from memalpha.tasks.ledger.context import MOST_CORE_TOKENS, MOST_MEMORIES, Context, render_context
from memalpha.transport import EmbeddedTransport, Method, Q, R

View = Literal["relevant", "recent"]
SHOWN = 4
"""Memories of each type that a writer sees."""

_SETTINGS = BankSettings(
    durability=Durability.DURABILITY_VOLATILE,
    core_token_limit=MOST_CORE_TOKENS,
    embedder=Embedder(kind=EmbedderKind.EMBEDDER_KIND_NONE),
)


class InlineTransport:
    """A store in RAM as an `AsyncTransport` that answers at once."""

    def __init__(self, store: memcore.Store) -> None:
        """Uses an open store; it belongs to the caller."""
        self._transport = EmbeddedTransport(store)

    async def call(self, method: Method[Q, R], request: Q, *, timeout: float) -> R:
        """See `memalpha.transport.AsyncTransport.call`."""
        return self._transport.call(method, request, timeout=timeout)

    async def close(self) -> None:
        """Nothing: the store belongs to the caller."""


@dataclass(frozen=True, slots=True)
class Written:
    """A memory that a policy wrote.

    Attributes:
        tokens: Of all that is stored.
        items: Semantic and episodic memories.
        calls: Operations it tried, and how many of them were carried out.
    """

    client: AsyncMemoryClient
    bank_id: str
    tokens: int
    items: int
    calls: int
    applied: int

    async def contexts(self, questions: Sequence[str]) -> list[Context]:
        """What a reader gets for each question."""
        nothing = RecentView(semantic=0, episodic=0)
        view = await self.client.get_writer_view(GetWriterViewRequest(bank_id=self.bank_id, recent=nothing))
        queries = [
            SearchQuery(text=question, limit=MOST_MEMORIES, method=SearchMethod.SEARCH_METHOD_WORDS)
            for question in questions
        ]
        found = await self.client.search(self.bank_id, queries)
        return [
            render_context(view.core.content, [hit.memory for hit in hits.memories]) for hits in found.results
        ]


async def write(
    store: memcore.Store, instance: Instance, policy: Policy, *, view: View = "relevant", shown: int = SHOWN
) -> Written:
    """Has a policy memorize a stream, in a new bank of the store.

    Args:
        store: In memory.
        instance: Its chunks are memorized one by one.
        policy: Writes the memory.
        view: Which memories it is shown.
        shown: How many of each type.
    """
    client = AsyncMemoryClient(InlineTransport(store))
    bank_id = f"{instance.instance_id}-{uuid4().hex[:12]}"
    await client.create_bank(bank_id, _SETTINGS)
    chunks = [
        StoredChunk(chunk_id=str(position), text=chunk.text, event_time=chunk.event_time)
        for position, chunk in enumerate(instance.chunks)
    ]
    await client.append_chunks(bank_id, chunks)
    agent = Agent(client, policy, AgentSettings(view=view, semantic=shown, episodic=shown, vectors=False))
    calls = applied = 0
    async for outcome in agent.memorize_pending(bank_id):
        calls += len(outcome.results)
        applied += sum(not result.HasField("error") for result in outcome.results)
    stats = (await client.get_bank(bank_id)).stats
    tokens = stats.core_tokens + stats.semantic_tokens + stats.episodic_tokens
    return Written(client, bank_id, tokens, stats.semantic_count + stats.episodic_count, calls, applied)
