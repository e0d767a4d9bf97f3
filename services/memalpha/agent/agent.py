"""The agent: turns text into memory, keeps memory in order, and answers questions from it.

It stores before it memorizes: `memorize` returns once every chunk is as durable as its bank, whatever the
policy does. Memorizing is the worker's job, or, without one, that of `memorize_pending` in the foreground.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from memalpha.agent import checks
from memalpha.agent.answer import Answerer
from memalpha.agent.backfill import Backfill
from memalpha.agent.chunking import batches, split_item
from memalpha.agent.consolidate import Consolidator
from memalpha.agent.loop import ChunkOutcome, Memorizer, PolicyOutage
from memalpha.agent.protocols import Embedder, MemoryBackend, Policy
from memalpha.agent.recall import recall
from memalpha.agent.settings import AgentSettings
from memalpha.agent.vectors import Vectors, bank_embedder
from memalpha.agent.worker import Worker
from memalpha.api.agent.v1alpha1.agent_service_pb2 import (
    AnswerRequest,
    AnswerResponse,
    ChunkReceipt,
    ChunkState,
    ConsolidateRequest,
    ConsolidateResponse,
    MemorizeRequest,
    MemorizeResponse,
    RecallRequest,
    RecallResponse,
)
from memalpha.api.memory.v1alpha1.memory_pb2 import Bank, BankSettings, Chunk, EmbedderKind
from memalpha.api.memory.v1alpha1.memory_pb2 import Embedder as BankEmbedder
from memalpha.errors import NotFoundError, make

_BATCH_CHUNKS = 1000
_BATCH_BYTES = 12 << 20
_FIRST_LOOK_SECONDS = 0.02
_LONGEST_LOOK_SECONDS = 0.5


class Agent:
    """One agent over a memory and a policy. Methods may run concurrently; it belongs to one event loop."""

    def __init__(
        self,
        memory: MemoryBackend,
        policy: Policy,
        settings: AgentSettings | None = None,
        embedder: Embedder | None = None,
        reader: Policy | None = None,
    ) -> None:
        """Nothing but the prompt pack is read before a method is called.

        Args:
            memory: Where banks are.
            policy: Writes memory.
            settings: None means all defaults.
            embedder: Makes the vectors of banks that are set to it, which new banks are.
            reader: Answers questions; None means that the policy does.

        Raises:
            InvalidInputError: UNKNOWN_PROMPT_PACK or INVALID_PROMPT_PACK.
        """
        self._memory = memory
        self._embedder = embedder
        self._settings = settings or AgentSettings()
        self._vectors = Vectors(embedder, self._settings)
        self._backfill = Backfill(memory, self._vectors, self._settings)
        self._memorizer = Memorizer(memory, policy, self._settings, self._vectors)
        self._worker = Worker(memory, policy, self._settings, self._vectors)
        self._consolidator = Consolidator(memory, policy, self._settings)
        self._answerer = Answerer(memory, reader or policy, self._settings, self._vectors)

    async def memorize(self, request: MemorizeRequest, timeout: float | None = None) -> MemorizeResponse:
        """Stores the items durably, in order, and has them memorized.

        Args:
            request: Bank and items. With `wait`, returns when all of them are memorized or parked.
            timeout: Seconds to wait at most; what is not done by then is reported as pending. None waits on.

        Raises:
            InvalidInputError: An item breaks a rule; nothing is stored.
            NotFoundError: There is no such bank and `create_bank` is not set; or it was deleted meanwhile.
            ConflictError: An item's id is stored with another text.
            MemalphaError: Anything else that the memory answers.
        """
        checks.memorize_request(request)
        chunks = [chunk for item in request.items for chunk in split_item(item, self._settings.chunk_tokens)]
        bank = await self._bank(request)
        receipts = await self._store(bank, chunks)
        self._worker.wake(bank.bank_id)
        if request.wait:
            bank = await self._memorized(bank, max(each.position for each in receipts), timeout)
        else:
            bank = await self._same_bank(bank)
        for receipt in receipts:
            receipt.state = _state(receipt.position, bank)
        return MemorizeResponse(receipts=receipts, pending_chunks=bank.stats.pending_chunks)

    async def recall(self, request: RecallRequest) -> RecallResponse:
        """Finds what a bank knows about a question; see `memalpha.agent.recall`."""
        return await recall(self._memory, request, self._vectors)

    async def answer(self, request: AnswerRequest) -> AnswerResponse:
        """Has the reader answer a question from what a bank knows; see `memalpha.agent.answer`."""
        return await self._answerer.answer(request)

    async def consolidate(self, request: ConsolidateRequest) -> AsyncGenerator[ConsolidateResponse]:
        """Puts a bank's memories in order, piece by piece; see `memalpha.agent.consolidate`."""
        async with aclosing(self._consolidator.consolidate(request)) as done:
            async for piece in done:
                yield piece
        if not request.dry_run:
            await self.embed_pending(request.bank_id)

    async def run_worker(self, stop: asyncio.Event) -> None:
        """Memorizes what is pending in all banks until `stop` is set; then finishes the chunks in work."""
        await self._worker.run(stop)

    async def memorize_pending(self, bank_id: str) -> AsyncGenerator[ChunkOutcome]:
        """Works one bank off in the foreground; yields what became of each chunk, failed tries included.

        Raises:
            UnavailableError, BusyError: The policy or the memory cannot be had.
            ConflictError: Others changed the bank under every try of a chunk.
            MemalphaError: Anything else that the memory answers.
        """
        while True:
            try:
                outcome = await self._memorizer.next_chunk(bank_id)
            except PolicyOutage as outage:
                raise outage.error from None
            if outcome is None:
                await self.embed_pending(bank_id)
                return
            yield outcome

    async def embed_pending(self, bank_id: str) -> None:
        """Hands over the vectors that a bank lacks, in the foreground; what cannot be had is left."""
        await self._backfill.bank(bank_id)

    async def _bank(self, request: MemorizeRequest) -> Bank:
        try:
            return await self._memory.get_bank(request.bank_id)
        except NotFoundError:
            if not request.create_bank:
                raise
        return await self._memory.ensure_bank(request.bank_id, await self._new_bank_settings())

    async def _new_bank_settings(self) -> BankSettings:
        if self._embedder is not None:
            return self._settings.bank_settings(await bank_embedder(self._embedder))
        if self._settings.vectors:
            return self._settings.bank_settings(None)
        return self._settings.bank_settings(BankEmbedder(kind=EmbedderKind.EMBEDDER_KIND_NONE))

    async def _same_bank(self, bank: Bank) -> Bank:
        now = await self._memory.get_bank(bank.bank_id)
        if now.bank_uid != bank.bank_uid:
            message = f"bank {bank.bank_id} was deleted and created again meanwhile"
            raise make(NotFoundError, "BANK_NOT_FOUND", message, bank_id=bank.bank_id)
        return now

    async def _store(self, bank: Bank, chunks: list[Chunk]) -> list[ChunkReceipt]:
        receipts: list[ChunkReceipt] = []
        for batch in batches(chunks, most=_BATCH_CHUNKS, most_bytes=_BATCH_BYTES):
            stored = await self._memory.append_chunks(bank.bank_id, batch, bank.bank_uid)
            receipts += [
                ChunkReceipt(
                    chunk_id=chunk.chunk_id, position=result.position, already_stored=result.already_stored
                )
                for chunk, result in zip(batch, stored.results, strict=True)
            ]
        return receipts

    async def _memorized(self, bank: Bank, position: int, timeout: float | None) -> Bank:
        """The bank once the chunk at `position` is memorized or parked, or the time is over."""
        try:
            async with asyncio.timeout(timeout):
                if not self._worker.running:
                    await self._memorize_up_to(bank.bank_id, position)
                return await self._settled(bank, position)
        except TimeoutError:
            return await self._same_bank(bank)

    async def _memorize_up_to(self, bank_id: str, position: int) -> None:
        async with aclosing(self.memorize_pending(bank_id)) as outcomes:
            async for outcome in outcomes:
                done = outcome.state == ChunkState.CHUNK_STATE_MEMORIZED
                if done and outcome.chunk.position >= position:
                    break
        await self.embed_pending(bank_id)

    async def _settled(self, bank: Bank, position: int) -> Bank:
        pause = _FIRST_LOOK_SECONDS
        while True:
            now = await self._same_bank(bank)
            if now.cursor > position or now.failures.parked:
                return now
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_LOOK_SECONDS)


def _state(position: int, bank: Bank) -> ChunkState.ValueType:
    if position < bank.cursor:
        return ChunkState.CHUNK_STATE_MEMORIZED
    return ChunkState.CHUNK_STATE_PARKED if bank.failures.parked else ChunkState.CHUNK_STATE_PENDING
