"""Our own way: the agent's loop has a policy write a bank, and recall packs what a reader is shown.

The same code that a service runs, over a bank in RAM. A chunk is appended when it is read, so that a question
asked before finds nothing of it. With the preset `paper` a question gets the best memories of each type by
Okapi, one fewer of each as long as they do not fit.
"""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

import memcore
from memalpha.agent import AgentSettings, Memorizer, PolicyOutage, packs, wire
from memalpha.agent.context import CUT, pack_context
from memalpha.agent.retrieval import by_okapi
from memalpha.api.agent.v1alpha1.agent_service_pb2 import AnswerRequest, ChunkState
from memalpha.api.memory.v1alpha1.memory_pb2 import BankSettings, Chunk, Durability, Embedder, EmbedderKind
from memalpha.client import AsyncMemoryClient
from memalpha.errors import InternalError, make
from memalpha.tasks.memorized import InlineTransport
from memalpha_evals.protocols import Context
from memalpha_evals.streams import AskedQuestion, Stream
from memalpha_evals.systems.base import Design, SystemOptions
from memalpha_evals.systems.recalled import recalled, stored_tokens
from memalpha_evals.systems.recording import Calls
from memalpha_evals.systems.trained import as_trained

NAME = "memalpha"
BANK = "stream"
MOST_FAILURES = 100
"""Of one chunk, as many as a bank can allow."""


def memalpha(options: SystemOptions) -> Design:
    """The system `memalpha`.

    Raises:
        InvalidInputError: POLICY_NOT_NAMED, or the prompt pack is none.
        UnsupportedError: The policy was trained otherwise; see `as_trained`.
    """
    description = options.described(NAME)
    agent = as_trained(options.agent, description, options.prompt_packs)
    digest = packs.load(agent.prompt_pack).digest(wire.get(description.wire_format))

    async def begin(stream: Stream, asked: AskedQuestion | None, calls: Calls) -> _Written:
        written = _Written(stream, calls, agent)
        await written.create()
        return written

    settings: dict[str, Any] = {"agent": agent.model_dump(mode="json"), "prompt_digest": digest}
    about = f"memories written by {description.policy.policy_id}, found by recall"
    return Design(NAME, about, begin, options, settings, asks=True)


class _Written:
    """A bank that a policy writes."""

    def __init__(self, stream: Stream, calls: Calls, settings: AgentSettings) -> None:
        self._chunks = stream.chunks
        self._settings = settings
        self._store = memcore.Store.in_memory()
        self._client = AsyncMemoryClient(InlineTransport(self._store))
        self._memorizer = Memorizer(self._client, calls, settings)

    async def create(self) -> None:
        """Creates the bank."""
        await self._client.create_bank(BANK, _bank_settings(self._settings))

    async def read(self, place: int) -> None:
        chunk = self._chunks[place]
        # A chunk that is tried again is stored already; its id makes that harmless.
        stored = Chunk(chunk_id=str(place), text=chunk.text, event_time=chunk.event_time)
        await self._client.append_chunks(BANK, [stored])
        try:
            outcome = await self._memorizer.next_chunk(BANK)
        except PolicyOutage as outage:
            raise outage.error from None
        if outcome is None or outcome.state != ChunkState.CHUNK_STATE_MEMORIZED:
            failure = outcome.failure if outcome else "nothing is pending"
            message = f"chunk {place} cannot be memorized: {failure}"
            raise make(InternalError, "CHUNK_NOT_MEMORIZED", message, place=place, failure=failure)

    async def context(self, asked: AskedQuestion, budget: int) -> Context:
        if self._settings.retrieval == "okapi":
            return await self._by_okapi(asked.question.text, budget)
        return await recalled(self._client, BANK, asked.question.text, budget)

    async def _by_okapi(self, question: str, budget: int) -> Context:
        """Core memory and the best of each type, the first lot that fits whole."""
        asked = AnswerRequest(bank_id=BANK, question=question)
        stored = await stored_tokens(self._client, BANK)
        truncated = False
        async with aclosing(by_okapi(self._client, asked, self._settings)) as ever_fewer:
            async for found in ever_fewer:
                memories = found.shown.memories
                packed = pack_context(found.core.content, memories, (), question, budget)
                if len(packed.memories) == len(memories):
                    truncated |= packed.core.endswith(CUT)
                    return Context(packed.text, packed.tokens, stored, truncated)
                truncated = True
        return Context("", 0, stored, truncated)

    async def close(self) -> None:
        self._store.close()


def _bank_settings(settings: AgentSettings) -> BankSettings:
    """As the agent's own banks, but in RAM, and never parked: the scheduler gives up sooner."""
    bank = settings.bank_settings(
        None if settings.vectors else Embedder(kind=EmbedderKind.EMBEDDER_KIND_NONE)
    )
    bank.durability = Durability.DURABILITY_VOLATILE
    bank.max_chunk_failures = MOST_FAILURES
    return bank
