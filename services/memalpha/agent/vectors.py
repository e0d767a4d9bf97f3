"""Vectors of one configured embedder, for the banks that are set to it.

Nothing waits for them: a question or a chunk whose vector cannot be had in time is compared by words, and a
memory is written without its vector, which `backfill` hands over later. While the embedder is away nobody
asks it until the next try is due. A bank that another embedder is set for is left to words; the log says so
once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from memalpha.agent.backoff import Backoff
from memalpha.agent.outage import Outage
from memalpha.agent.protocols import Embedder
from memalpha.agent.settings import AgentSettings
from memalpha.api.memory.v1alpha1 import memory_pb2 as pb
from memalpha.errors import InvalidInputError, MemalphaError, UnavailableError, UnsupportedError, make
from memalpha.telemetry import get_logger

_HARMLESS = "hello"
_log = get_logger(__name__)


class Vectors:
    """What the agent asks for vectors; without an embedder it has none. Belongs to one event loop."""

    def __init__(self, embedder: Embedder | None, settings: AgentSettings) -> None:
        """Of an embedder, or of none."""
        self._embedder = embedder
        self._settings = settings
        backoff = Backoff(settings.backoff_seconds, settings.longest_backoff_seconds)
        self.outage = Outage("embedder", backoff, work="embedding")
        # Too slow for a question is not away: stored memories can wait for it.
        self._late = Outage("embedder in time", backoff, work="embedding of questions")
        self._foreign: set[tuple[str, str]] = set()

    @property
    def configured(self) -> bool:
        """Whether there is an embedder at all."""
        return self._embedder is not None

    def suit(self, bank: pb.Bank) -> bool:
        """Whether the embedder makes the bank's vectors."""
        wanted = bank.settings.embedder
        if wanted.kind != pb.EMBEDDER_KIND_EXTERNAL:
            return False
        if self._embedder is not None and wanted.id == self._embedder.id:
            known = self._embedder.dimensions
            if known in (0, wanted.dimensions):
                return True
        self._say_foreign(bank)
        return False

    async def of_text(self, bank: pb.Bank, text: str) -> bytes:
        """The vector of a question or a chunk; empty if it cannot be had, or is of no use to the bank."""
        if not self.suit(bank) or max(self.outage.remaining(), self._late.remaining()) > 0:
            return b""
        try:
            async with asyncio.timeout(self._settings.embedding_seconds):
                (vector,) = await self.of_texts(bank, [text])
        except TimeoutError:
            message = f"no vector within {self._settings.embedding_seconds:g} s"
            self._late.failed(make(UnavailableError, "EMBEDDER_TOO_SLOW", message))
        except InvalidInputError as refused:
            _log.warning("text refused by the embedder", bank_id=bank.bank_id, error=str(refused))
        except MemalphaError:
            pass  # noted where it was raised
        else:
            self._late.over()
            return vector
        return b""

    async def of_texts(self, bank: pb.Bank, texts: Sequence[str]) -> list[bytes]:
        """The vectors of texts for a bank that the embedder suits.

        Raises:
            InvalidInputError: The embedder refuses one of the texts.
            MemalphaError: The embedder is away, or its vectors are not of the bank's dimensions.
        """
        assert self._embedder is not None
        try:
            vectors = await self._embed(self._embedder, texts)
        except InvalidInputError:
            raise
        except MemalphaError as error:
            self.outage.failed(error)
            raise
        self.outage.over()
        if not self.suit(bank):
            raise _unlike(self._embedder, bank)
        return vectors

    async def _embed(self, embedder: Embedder, texts: Sequence[str]) -> list[bytes]:
        """Vectors of texts; a refusal is the texts' fault only if the embedder takes a harmless one."""
        try:
            return await embedder.embed(texts)
        except InvalidInputError as refused:
            refusal = refused
        try:
            await embedder.embed([_HARMLESS])
        except InvalidInputError:
            message = f"it refuses every text: {refusal}"
            raise make(UnsupportedError, "EMBEDDER_REFUSES_ALL", message) from None
        raise refusal

    def _say_foreign(self, bank: pb.Bank) -> None:
        wanted = bank.settings.embedder
        key = (bank.bank_uid, wanted.id)
        if key not in self._foreign:
            self._foreign.add(key)
            _log.warning(
                "bank searched by words: it has another embedder",
                bank_id=bank.bank_id,
                embedder=f"{wanted.id} ({wanted.dimensions})",
                configured=f"{self._embedder.id} ({self._embedder.dimensions})" if self._embedder else "none",
            )


async def bank_embedder(embedder: Embedder) -> pb.Embedder:
    """What the settings of a bank say whose vectors this embedder makes.

    Raises:
        MemalphaError: Its dimensions are not known yet, and it cannot be asked.
    """
    if not embedder.dimensions:
        await embedder.embed([_HARMLESS])
    return pb.Embedder(kind=pb.EMBEDDER_KIND_EXTERNAL, id=embedder.id, dimensions=embedder.dimensions)


def _unlike(embedder: Embedder, bank: pb.Bank) -> UnsupportedError:
    wanted = bank.settings.embedder.dimensions
    message = f"vectors of {embedder.id} must have {wanted} numbers for this bank, got {embedder.dimensions}"
    return make(UnsupportedError, "EMBEDDER_DIMENSIONS", message)
