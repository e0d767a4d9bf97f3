"""Clients of MemoryService: banks, their chunks, memories and history.

A write whose reply was lost is sent again only if the service can tell that it had it: by its `request_id`,
or by the chunks' own ids. Lists are iterators that fetch page after page, as they are consumed.
"""

import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, Self

from memalpha.api.memory.v1alpha1.memory_pb2 import (
    Bank,
    BankEvent,
    BankSettings,
    Chunk,
    Embedder,
    Memory,
    MemoryType,
)
from memalpha.api.memory.v1alpha1.memory_service_pb2 import (
    AppendChunksRequest,
    AppendChunksResponse,
    ApplyOperationsRequest,
    ApplyOperationsResponse,
    CreateBankRequest,
    DeleteBankRequest,
    GetBankRequest,
    GetWriterViewRequest,
    GetWriterViewResponse,
    ListBankEventsRequest,
    ListBanksRequest,
    ListChunksRequest,
    ListMemoriesRequest,
    ListPendingBanksRequest,
    MemoryVector,
    ParkedChunkAction,
    PendingBank,
    PutVectorsRequest,
    PutVectorsResponse,
    ReportChunkFailureRequest,
    ReportChunkFailureResponse,
    ResolveParkedChunkRequest,
    SearchMemoriesRequest,
    SearchMemoriesResponse,
    SearchQuery,
    SetEmbedderRequest,
)
from memalpha.client import methods
from memalpha.client.base import AsyncClient, Client, deadline
from memalpha.errors import AlreadyExistsError, NotFoundError
from memalpha.transport import AsyncGrpcTransport, AsyncTransport, GrpcTransport, Method, Q, R, Transport

_PAGE_SIZE = 200
_ALL_TYPES = MemoryType.MEMORY_TYPE_UNSPECIFIED


def _new_id() -> str:
    return str(uuid.uuid4())


def _with_request_id(request: ApplyOperationsRequest) -> ApplyOperationsRequest:
    filled = ApplyOperationsRequest()
    filled.CopyFrom(request)
    filled.request_id = _new_id()
    return filled


class MemoryClient(Client[Transport]):
    """Blocking client of MemoryService, over gRPC or on a store in this process."""

    @classmethod
    def connect(cls, address: str) -> Self:
        """A client of the memory service at `host:port`."""
        return cls(GrpcTransport(address))

    def create_bank(self, bank_id: str, settings: BankSettings | None = None) -> Bank:
        """Creates an empty bank; `settings` are fixed from then on.

        Raises:
            AlreadyExistsError: There is a bank of that id.
            InvalidInputError: The id or a setting breaks a rule.
        """
        request = CreateBankRequest(bank_id=bank_id, settings=settings, request_id=_new_id())
        return self._call(methods.CREATE_BANK, request).bank

    def ensure_bank(self, bank_id: str, settings: BankSettings | None = None) -> Bank:
        """Gets a bank, or creates it with `settings` if there is none; an old bank keeps its own."""
        try:
            return self.get_bank(bank_id)
        except NotFoundError:
            pass
        try:
            return self.create_bank(bank_id, settings)
        except AlreadyExistsError:  # somebody else was faster
            return self.get_bank(bank_id)

    def get_bank(self, bank_id: str) -> Bank:
        """Gets a bank's state and sizes.

        Raises:
            NotFoundError: There is no such bank.
        """
        return self._call(methods.GET_BANK, GetBankRequest(bank_id=bank_id)).bank

    def banks(self, unembedded_only: bool = False) -> Iterator[Bank]:
        """All banks, in order of their ids; or only those that lack vectors of their external embedder."""
        request = ListBanksRequest(unembedded_only=unembedded_only)
        for page in self._pages(methods.LIST_BANKS, request):
            yield from page.banks

    def delete_bank(self, bank_id: str, bank_uid: str = "") -> None:
        """Deletes a bank and all that is in it; with `bank_uid`, only that very bank."""
        self._call(methods.DELETE_BANK, DeleteBankRequest(bank_id=bank_id, bank_uid=bank_uid))

    def append_chunks(
        self, bank_id: str, chunks: Sequence[Chunk], bank_uid: str = ""
    ) -> AppendChunksResponse:
        """Appends chunks to a bank's stream, all or none; returns once they are as durable as the bank.

        A chunk that the bank has (the same id and text) is not stored again, so a lost call can be repeated.

        Args:
            bank_id: The bank.
            chunks: At most 1000, and 16 MiB in all.
            bank_uid: If given, only this very bank is written.
        """
        request = AppendChunksRequest(bank_id=bank_id, bank_uid=bank_uid, chunks=chunks)
        return self._call(methods.APPEND_CHUNKS, request)

    def chunks(self, bank_id: str, start: int = 0, pending_only: bool = False) -> Iterator[Chunk]:
        """A bank's chunks in order of their positions, from `start`; or only those not yet memorized."""
        request = ListChunksRequest(bank_id=bank_id, start_position=start, pending_only=pending_only)
        for page in self._pages(methods.LIST_CHUNKS, request):
            yield from page.chunks

    def pending_banks(self) -> Iterator[PendingBank]:
        """The banks that have chunks to memorize, in order of their ids."""
        for page in self._pages(methods.LIST_PENDING_BANKS, ListPendingBanksRequest()):
            yield from page.banks

    def get_writer_view(self, request: GetWriterViewRequest) -> GetWriterViewResponse:
        """Reads, at one revision, what a policy needs for the next chunk."""
        return self._call(methods.GET_WRITER_VIEW, request)

    def apply_operations(self, request: ApplyOperationsRequest) -> ApplyOperationsResponse:
        """Applies operations in order and moves the cursor, in one record; bad ones are reported, not raised.

        An empty `request_id` is filled in, so that a lost call can be repeated.

        Raises:
            ConflictError: The bank is not as it was when the view was read; nothing changed.
        """
        if not request.request_id:
            request = _with_request_id(request)
        return self._call(methods.APPLY_OPERATIONS, request)

    def report_chunk_failure(self, request: ReportChunkFailureRequest) -> ReportChunkFailureResponse:
        """Counts a failure of the chunk at the cursor; at the bank's limit the chunk is parked."""
        return self._call(methods.REPORT_CHUNK_FAILURE, request)

    def resolve_parked_chunk(
        self, bank_id: str, action: ParkedChunkAction.ValueType, bank_uid: str = ""
    ) -> Bank:
        """Releases a parked chunk: tries it again, or skips it."""
        request = ResolveParkedChunkRequest(bank_id=bank_id, bank_uid=bank_uid, action=action)
        return self._call(methods.RESOLVE_PARKED_CHUNK, request).bank

    def memories(
        self, bank_id: str, type: MemoryType.ValueType | None = None, unembedded_only: bool = False
    ) -> Iterator[Memory]:
        """A bank's memories in order of their ids, core memory first.

        Args:
            bank_id: The bank.
            type: If given, only memories of this type.
            unembedded_only: Only those that lack a vector of the bank's embedder.
        """
        request = ListMemoriesRequest(
            bank_id=bank_id, type=type or _ALL_TYPES, unembedded_only=unembedded_only
        )
        for page in self._pages(methods.LIST_MEMORIES, request):
            yield from page.memories

    def search(self, bank_id: str, queries: Sequence[SearchQuery]) -> SearchMemoriesResponse:
        """Ranks memories, and pending chunks if asked for, against 1 to 1000 queries, all at one revision."""
        return self._call(methods.SEARCH_MEMORIES, SearchMemoriesRequest(bank_id=bank_id, queries=queries))

    def put_vectors(
        self, bank_id: str, vectors: Sequence[MemoryVector], embedder_id: str, bank_uid: str = ""
    ) -> PutVectorsResponse:
        """Hands over vectors of a bank's external embedder; says of each whether it is searched or was stale.

        Args:
            bank_id: The bank.
            vectors: At most 1000.
            embedder_id: What made them.
            bank_uid: If given, only this very bank is written.

        Raises:
            ConflictError: The bank has another embedder by now.
        """
        request = PutVectorsRequest(
            bank_id=bank_id, bank_uid=bank_uid, embedder_id=embedder_id, vectors=vectors
        )
        return self._call(methods.PUT_VECTORS, request)

    def set_embedder(self, bank_id: str, embedder: Embedder, bank_uid: str = "") -> Bank:
        """Changes what makes a bank's vectors; the old ones are dropped. The present one changes nothing."""
        request = SetEmbedderRequest(bank_id=bank_id, bank_uid=bank_uid, embedder=embedder)
        return self._call(methods.SET_EMBEDDER, request).bank

    def events(
        self, bank_id: str, memory_id: int | None = None, chunk_position: int | None = None
    ) -> Iterator[BankEvent]:
        """A bank's history, oldest first.

        Args:
            bank_id: The bank.
            memory_id: If given, only operations on this memory; 0 is core memory.
            chunk_position: If given, only what concerns the chunk at this position.
        """
        request = ListBankEventsRequest(bank_id=bank_id, memory_id=memory_id, chunk_position=chunk_position)
        for page in self._pages(methods.LIST_BANK_EVENTS, request):
            yield from page.events

    def _call(self, method: Method[Q, R], request: Q) -> R:
        return self._transport.call(method, request, timeout=deadline(request))

    def _pages(self, method: Method[Any, R], request: Any) -> Iterator[R]:
        request.page_size = _PAGE_SIZE
        while True:
            page: Any = self._call(method, request)
            yield page
            request.page_token = page.next_page_token
            if not request.page_token:
                return


class AsyncMemoryClient(AsyncClient[AsyncTransport]):
    """Asynchronous client of MemoryService, over gRPC or on a store in this process."""

    @classmethod
    def connect(cls, address: str) -> Self:
        """A client of the memory service at `host:port`."""
        return cls(AsyncGrpcTransport(address))

    async def create_bank(self, bank_id: str, settings: BankSettings | None = None) -> Bank:
        """Creates an empty bank; `settings` are fixed from then on.

        Raises:
            AlreadyExistsError: There is a bank of that id.
            InvalidInputError: The id or a setting breaks a rule.
        """
        request = CreateBankRequest(bank_id=bank_id, settings=settings, request_id=_new_id())
        return (await self._call(methods.CREATE_BANK, request)).bank

    async def ensure_bank(self, bank_id: str, settings: BankSettings | None = None) -> Bank:
        """Gets a bank, or creates it with `settings` if there is none; an old bank keeps its own."""
        try:
            return await self.get_bank(bank_id)
        except NotFoundError:
            pass
        try:
            return await self.create_bank(bank_id, settings)
        except AlreadyExistsError:  # somebody else was faster
            return await self.get_bank(bank_id)

    async def get_bank(self, bank_id: str) -> Bank:
        """Gets a bank's state and sizes.

        Raises:
            NotFoundError: There is no such bank.
        """
        return (await self._call(methods.GET_BANK, GetBankRequest(bank_id=bank_id))).bank

    async def banks(self, unembedded_only: bool = False) -> AsyncIterator[Bank]:
        """All banks, in order of their ids; or only those that lack vectors of their external embedder."""
        request = ListBanksRequest(unembedded_only=unembedded_only)
        async for page in self._pages(methods.LIST_BANKS, request):
            for item in page.banks:
                yield item

    async def delete_bank(self, bank_id: str, bank_uid: str = "") -> None:
        """Deletes a bank and all that is in it; with `bank_uid`, only that very bank."""
        await self._call(methods.DELETE_BANK, DeleteBankRequest(bank_id=bank_id, bank_uid=bank_uid))

    async def append_chunks(
        self, bank_id: str, chunks: Sequence[Chunk], bank_uid: str = ""
    ) -> AppendChunksResponse:
        """Appends chunks to a bank's stream, all or none; returns once they are as durable as the bank.

        A chunk that the bank has (the same id and text) is not stored again, so a lost call can be repeated.

        Args:
            bank_id: The bank.
            chunks: At most 1000, and 16 MiB in all.
            bank_uid: If given, only this very bank is written.
        """
        request = AppendChunksRequest(bank_id=bank_id, bank_uid=bank_uid, chunks=chunks)
        return await self._call(methods.APPEND_CHUNKS, request)

    async def chunks(self, bank_id: str, start: int = 0, pending_only: bool = False) -> AsyncIterator[Chunk]:
        """A bank's chunks in order of their positions, from `start`; or only those not yet memorized."""
        request = ListChunksRequest(bank_id=bank_id, start_position=start, pending_only=pending_only)
        async for page in self._pages(methods.LIST_CHUNKS, request):
            for item in page.chunks:
                yield item

    async def pending_banks(self) -> AsyncIterator[PendingBank]:
        """The banks that have chunks to memorize, in order of their ids."""
        async for page in self._pages(methods.LIST_PENDING_BANKS, ListPendingBanksRequest()):
            for item in page.banks:
                yield item

    async def get_writer_view(self, request: GetWriterViewRequest) -> GetWriterViewResponse:
        """Reads, at one revision, what a policy needs for the next chunk."""
        return await self._call(methods.GET_WRITER_VIEW, request)

    async def apply_operations(self, request: ApplyOperationsRequest) -> ApplyOperationsResponse:
        """Applies operations in order and moves the cursor, in one record; bad ones are reported, not raised.

        An empty `request_id` is filled in, so that a lost call can be repeated.

        Raises:
            ConflictError: The bank is not as it was when the view was read; nothing changed.
        """
        if not request.request_id:
            request = _with_request_id(request)
        return await self._call(methods.APPLY_OPERATIONS, request)

    async def report_chunk_failure(self, request: ReportChunkFailureRequest) -> ReportChunkFailureResponse:
        """Counts a failure of the chunk at the cursor; at the bank's limit the chunk is parked."""
        return await self._call(methods.REPORT_CHUNK_FAILURE, request)

    async def resolve_parked_chunk(
        self, bank_id: str, action: ParkedChunkAction.ValueType, bank_uid: str = ""
    ) -> Bank:
        """Releases a parked chunk: tries it again, or skips it."""
        request = ResolveParkedChunkRequest(bank_id=bank_id, bank_uid=bank_uid, action=action)
        return (await self._call(methods.RESOLVE_PARKED_CHUNK, request)).bank

    async def memories(
        self, bank_id: str, type: MemoryType.ValueType | None = None, unembedded_only: bool = False
    ) -> AsyncIterator[Memory]:
        """A bank's memories in order of their ids, core memory first.

        Args:
            bank_id: The bank.
            type: If given, only memories of this type.
            unembedded_only: Only those that lack a vector of the bank's embedder.
        """
        request = ListMemoriesRequest(
            bank_id=bank_id, type=type or _ALL_TYPES, unembedded_only=unembedded_only
        )
        async for page in self._pages(methods.LIST_MEMORIES, request):
            for item in page.memories:
                yield item

    async def search(self, bank_id: str, queries: Sequence[SearchQuery]) -> SearchMemoriesResponse:
        """Ranks memories, and pending chunks if asked for, against 1 to 1000 queries, all at one revision."""
        return await self._call(
            methods.SEARCH_MEMORIES, SearchMemoriesRequest(bank_id=bank_id, queries=queries)
        )

    async def put_vectors(
        self, bank_id: str, vectors: Sequence[MemoryVector], embedder_id: str, bank_uid: str = ""
    ) -> PutVectorsResponse:
        """Hands over vectors of a bank's external embedder; says of each whether it is searched or was stale.

        Args:
            bank_id: The bank.
            vectors: At most 1000.
            embedder_id: What made them.
            bank_uid: If given, only this very bank is written.

        Raises:
            ConflictError: The bank has another embedder by now.
        """
        request = PutVectorsRequest(
            bank_id=bank_id, bank_uid=bank_uid, embedder_id=embedder_id, vectors=vectors
        )
        return await self._call(methods.PUT_VECTORS, request)

    async def set_embedder(self, bank_id: str, embedder: Embedder, bank_uid: str = "") -> Bank:
        """Changes what makes a bank's vectors; the old ones are dropped. The present one changes nothing."""
        request = SetEmbedderRequest(bank_id=bank_id, bank_uid=bank_uid, embedder=embedder)
        return (await self._call(methods.SET_EMBEDDER, request)).bank

    async def events(
        self, bank_id: str, memory_id: int | None = None, chunk_position: int | None = None
    ) -> AsyncIterator[BankEvent]:
        """A bank's history, oldest first.

        Args:
            bank_id: The bank.
            memory_id: If given, only operations on this memory; 0 is core memory.
            chunk_position: If given, only what concerns the chunk at this position.
        """
        request = ListBankEventsRequest(bank_id=bank_id, memory_id=memory_id, chunk_position=chunk_position)
        async for page in self._pages(methods.LIST_BANK_EVENTS, request):
            for item in page.events:
                yield item

    async def _call(self, method: Method[Q, R], request: Q) -> R:
        return await self._transport.call(method, request, timeout=deadline(request))

    async def _pages(self, method: Method[Any, R], request: Any) -> AsyncIterator[R]:
        request.page_size = _PAGE_SIZE
        while True:
            page: Any = await self._call(method, request)
            yield page
            request.page_token = page.next_page_token
            if not request.page_token:
                return
