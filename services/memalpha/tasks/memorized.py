"""A stream memorized from beginning to end, in this process: the agent's own loop over a bank in RAM.

The same path as a service's, without network and threads: a bank in RAM answers sooner than another thread
would wake up. Training and evaluation ask the same bank afterwards; what was shown, written and applied for
each chunk is kept beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import uuid4

import memcore
from memalpha.agent import Agent, AgentSettings, Policy
from memalpha.agent.loop import ChunkOutcome
from memalpha.api.memory.v1alpha1.memory_pb2 import Bank, BankSettings, Chunk
from memalpha.client import AsyncMemoryClient
from memalpha.tasks.instance import Instance
from memalpha.transport import EmbeddedTransport, Method, Q, R


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
class Memorized:
    """A stream's memory, and how it came about.

    Attributes:
        client: Of the store that the bank is in.
        bank: As it is afterwards.
        outcomes: What became of each chunk, in order; a chunk that failed has one for each try.
    """

    client: AsyncMemoryClient
    bank: Bank
    outcomes: tuple[ChunkOutcome, ...]

    @property
    def tokens(self) -> int:
        """o200k tokens of all that is stored."""
        stats = self.bank.stats
        return stats.core_tokens + stats.semantic_tokens + stats.episodic_tokens

    @property
    def items(self) -> int:
        """Semantic and episodic memories."""
        return self.bank.stats.semantic_count + self.bank.stats.episodic_count

    @property
    def calls(self) -> int:
        """Operations that the policy tried."""
        return sum(len(outcome.results) for outcome in self.outcomes)

    @property
    def applied(self) -> int:
        """Operations that were carried out."""
        return sum(not result.HasField("error") for outcome in self.outcomes for result in outcome.results)


async def memorize(
    store: memcore.Store, instance: Instance, policy: Policy, settings: AgentSettings, bank: BankSettings
) -> Memorized:
    """Has a policy memorize a stream, in a new bank of the store. A parked chunk ends it early.

    Args:
        store: In memory.
        instance: Its chunks are memorized one by one, as they are.
        policy: Writes the memory.
        settings: What the policy is shown.
        bank: Of the new bank.
    """
    client = AsyncMemoryClient(InlineTransport(store))
    bank_id = f"{instance.instance_id}-{uuid4().hex[:12]}"
    await client.create_bank(bank_id, bank)
    chunks = [
        Chunk(chunk_id=str(position), text=chunk.text, event_time=chunk.event_time)
        for position, chunk in enumerate(instance.chunks)
    ]
    await client.append_chunks(bank_id, chunks)
    agent = Agent(client, policy, settings)
    outcomes = [outcome async for outcome in agent.memorize_pending(bank_id)]
    return Memorized(client, await client.get_bank(bank_id), tuple(outcomes))
