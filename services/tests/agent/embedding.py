"""An embedder that follows a script, and a memory whose banks have it."""

import asyncio
import struct
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from memalpha.api.memory.v1alpha1 import memory_pb2 as pb
from memalpha.api.memory.v1alpha1 import memory_service_pb2 as service_pb
from memalpha.client import AsyncMemoryClient
from memalpha.errors import MemalphaError

Result = service_pb.PutVectorsResponse.Result
NAME = "scripted-1"


def vector_of(text: str) -> bytes:
    """Two numbers: the text's length, and 1."""
    return struct.pack("<2f", len(text), 1)


class ScriptedEmbedder:
    """Raises the errors of its script, one a call, and then gives `vector_of` each text.

    `refuse` says which texts are refused; `before` runs while it "computes".
    """

    def __init__(self, *errors: MemalphaError, id: str = NAME, dimensions: int = 2) -> None:
        self.errors = list(errors)
        self.calls: list[list[str]] = []
        self.refuse: Callable[[str], MemalphaError | None] = lambda _: None
        self.delay = 0.0
        self.before: Callable[[], Any] | None = None
        self.id = id
        self.dimensions = dimensions

    async def embed(self, texts: Sequence[str]) -> list[bytes]:
        self.calls.append(list(texts))
        await asyncio.sleep(self.delay)
        if self.before is not None:
            await self.before()
        if self.errors:
            raise self.errors.pop(0)
        for text in texts:
            if refusal := self.refuse(text):
                raise refusal
        self.dimensions = 2
        return [vector_of(text) for text in texts]


class VectorMemory(AsyncMemoryClient):
    """A memory client whose banks have an external embedder, and which notes what passes."""

    def __init__(self, memory: AsyncMemoryClient, *, id: str = NAME, dimensions: int = 2) -> None:
        super().__init__(memory._transport)
        self.embedder = pb.Embedder(kind=pb.EMBEDDER_KIND_EXTERNAL, id=id, dimensions=dimensions)
        self.vectors: dict[tuple[str, int], bytes] = {}
        self.put: list[service_pb.MemoryVector] = []
        self.results: list[Result.ValueType] = []
        self.errors: list[MemalphaError] = []
        self.views: list[service_pb.GetWriterViewRequest] = []
        self.queries: list[service_pb.SearchQuery] = []
        self.created_with: list[pb.BankSettings | None] = []

    async def ensure_bank(self, bank_id: str, settings: pb.BankSettings | None = None) -> pb.Bank:
        self.created_with.append(settings)
        return await super().ensure_bank(bank_id, pb.BankSettings(embedder=self.embedder))

    async def banks(self, unembedded_only: bool = False) -> AsyncIterator[pb.Bank]:
        if self.errors:
            raise self.errors.pop(0)
        async for bank in super().banks(unembedded_only):
            yield bank

    async def put_vectors(
        self, bank_id: str, vectors: Sequence[service_pb.MemoryVector], embedder_id: str, bank_uid: str = ""
    ) -> service_pb.PutVectorsResponse:
        self.put += vectors
        reply = await super().put_vectors(bank_id, vectors, embedder_id, bank_uid)
        self.results += reply.results
        for vector, result in zip(vectors, reply.results, strict=True):
            if result == Result.RESULT_STORED:
                self.vectors[bank_id, vector.memory_id] = vector.embedding_f32_le
        return reply

    async def get_writer_view(
        self, request: service_pb.GetWriterViewRequest
    ) -> service_pb.GetWriterViewResponse:
        self.views.append(request)
        return await super().get_writer_view(request)

    async def search(
        self, bank_id: str, queries: Sequence[service_pb.SearchQuery]
    ) -> service_pb.SearchMemoriesResponse:
        self.queries = list(queries)
        return await super().search(bank_id, queries)

    def kept(self, bank_id: str = "b") -> dict[int, bytes]:
        """The vectors of a bank, by memory."""
        return {memory: vector for (bank, memory), vector in self.vectors.items() if bank == bank_id}
