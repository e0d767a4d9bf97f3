"""Vectors for what is stored already: new memories, changed ones, and banks that changed their embedder.

The memory knows which memories lack a vector; nothing else is kept, so that a crash, a second agent or a lost
reply costs at most one batch made twice. A vector goes to the revision that was embedded: if the memory
changed meanwhile it is refused as stale, and the next look finds the memory again. Banks take turns, a few
batches each.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress

from memalpha.agent.backoff import Backoff
from memalpha.agent.outage import Outage
from memalpha.agent.protocols import MemoryBackend
from memalpha.agent.settings import AgentSettings
from memalpha.agent.vectors import Vectors
from memalpha.api.memory.v1alpha1.memory_pb2 import Bank, Memory
from memalpha.api.memory.v1alpha1.memory_service_pb2 import MemoryVector
from memalpha.errors import (
    BusyError,
    ConflictError,
    InvalidInputError,
    MemalphaError,
    NotFoundError,
    UnavailableError,
)
from memalpha.telemetry import get_logger

_BATCH_MEMORIES = 256
_BATCH_BYTES = 1 << 20
_BATCHES_PER_TURN = 4
_log = get_logger(__name__)


class Backfill:
    """Hands over the vectors that are missing. One `run` at a time."""

    def __init__(self, memory: MemoryBackend, vectors: Vectors, settings: AgentSettings) -> None:
        """Over a memory; nothing happens before `run` or `bank`."""
        self._memory = memory
        self._vectors = vectors
        self._settings = settings
        backoff = Backoff(settings.backoff_seconds, settings.longest_backoff_seconds)
        self._outage = Outage("memory", backoff, work="embedding")
        self._woken = asyncio.Event()
        self._complaints: dict[str, str] = {}
        # Contents that the embedder refuses: bank, memory, revision.
        self._refused: set[tuple[str, int, int]] = set()

    def wake(self) -> None:
        """Looks for missing vectors at once instead of at the next poll."""
        self._woken.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Works until `stop` is set, and abandons what it does then; without an embedder it does nothing."""
        if not self._vectors.configured:
            return
        stopping, work = asyncio.create_task(stop.wait()), asyncio.create_task(self._work())
        try:
            await asyncio.wait({stopping, work}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            work.cancel()
        if not stop.is_set():
            await work  # it ends by itself only by a bug, which must be seen

    async def bank(self, bank_id: str) -> None:
        """Hands over what one bank lacks, now; what cannot be had is left for later and logged."""
        if not self._vectors.configured:
            return
        try:
            bank = await self._memory.get_bank(bank_id)
            while self._vectors.suit(bank) and await self._turn(bank):
                pass
        except NotFoundError:
            return
        except MemalphaError as error:
            self._outage.failed(error)

    async def _work(self) -> None:
        while True:
            self._woken.clear()
            if not await self._round():
                await self._pause()

    async def _round(self) -> bool:
        """One turn for each bank that lacks vectors; True if any has more to do and nothing is away."""
        more = False
        try:
            async for bank in self._memory.banks(unembedded_only=True):
                if self._vectors.suit(bank):
                    with suppress(NotFoundError):  # deleted meanwhile
                        more = await self._turn(bank) or more
        except MemalphaError as error:
            self._outage.failed(error)
        else:
            self._outage.over()
        return more and self._away() == 0

    async def _turn(self, bank: Bank) -> bool:
        """Some batches of one bank; True if there may be more to do."""
        taken = 0
        async with aclosing(self._batches(bank)) as batches:
            async for batch in batches:
                if self._vectors.outage.remaining() > 0 or not await self._embed(bank, batch):
                    return False
                taken += 1
                if taken == _BATCHES_PER_TURN:
                    return True
        return False

    async def _batches(self, bank: Bank) -> AsyncGenerator[list[Memory]]:
        batch: list[Memory] = []
        size = 0
        async for memory in self._memory.memories(bank.bank_id, unembedded_only=True):
            if _key(bank, memory) in self._refused:
                continue
            batch.append(memory)
            size += len(memory.content)
            if len(batch) == _BATCH_MEMORIES or size >= _BATCH_BYTES:
                yield batch
                batch, size = [], 0
        if batch:
            yield batch

    async def _embed(self, bank: Bank, batch: Sequence[Memory]) -> bool:
        """Embeds a batch and hands it over; False if the bank has to be left for now."""
        try:
            vectors = await self._vectors.of_texts(bank, [memory.content for memory in batch])
        except InvalidInputError as refused:
            return await self._one_by_one(bank, batch, refused)
        except MemalphaError:
            return False
        handed = [
            MemoryVector(memory_id=memory.id, update_revision=memory.update_revision, embedding_f32_le=vector)
            for memory, vector in zip(batch, vectors, strict=True)
        ]
        try:
            await self._memory.put_vectors(bank.bank_id, handed, bank.settings.embedder.id, bank.bank_uid)
        except (UnavailableError, BusyError):
            raise
        except MemalphaError as error:
            self._complain(bank, error)
            return False
        self._complaints.pop(bank.bank_uid, None)
        return True

    async def _one_by_one(self, bank: Bank, batch: Sequence[Memory], refused: InvalidInputError) -> bool:
        """Finds the texts that the embedder refuses, so that they do not hold up the others."""
        if len(batch) == 1:
            self._refused.add(_key(bank, batch[0]))
            _log.warning(
                "memory left without a vector: its text was refused",
                bank_id=bank.bank_id,
                memory_id=batch[0].id,
                error=str(refused),
            )
            return True
        for memory in batch:
            if not await self._embed(bank, [memory]):
                return False
        return True

    def _complain(self, bank: Bank, error: MemalphaError) -> None:
        """Logs why a bank's vectors are not taken, once for each reason."""
        if isinstance(error, (ConflictError, NotFoundError)):
            return  # another embedder by now, or another bank
        if self._complaints.get(bank.bank_uid) != error.reason:
            self._complaints[bank.bank_uid] = error.reason
            _log.warning("vectors refused by the memory", bank_id=bank.bank_id, error=str(error))

    def _away(self) -> float:
        return max(self._outage.remaining(), self._vectors.outage.remaining())

    async def _pause(self) -> None:
        """Waits for the next poll, or for `wake` unless something is away."""
        if (away := self._away()) > 0:
            await asyncio.sleep(max(self._settings.poll_seconds, away))
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(self._woken.wait(), self._settings.poll_seconds)


def _key(bank: Bank, memory: Memory) -> tuple[str, int, int]:
    return bank.bank_uid, memory.id, memory.update_revision
