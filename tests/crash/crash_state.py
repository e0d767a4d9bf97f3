"""What must be the same after any number of crashes: everything in a bank but revisions and record times."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import grpc

from memalpha.api.memory.v1alpha1 import memory_pb2 as pb
from memalpha.api.memory.v1alpha1 import memory_service_pb2 as rpc
from memalpha.api.memory.v1alpha1.memory_service_pb2_grpc import MemoryServiceStub

PAGE = 500


class Applied(NamedTuple):
    """An operation in the history, and what came of it: a memory, or an error."""

    chunk_position: int
    operation_index: int
    verb: str | None
    operation: bytes
    memory_id: int
    error: int


class Other(NamedTuple):
    """Any other event; the positions are those between which the cursor moved, if it did."""

    kind: str | None
    from_position: int
    to_position: int


class Kept(NamedTuple):
    """A memory, with its provenance."""

    memory_id: int
    type: int
    content: str
    event_time: str
    chunk_id: str
    chunk_position: int
    operation_index: int


@dataclass(frozen=True)
class BankState:
    """A bank without its revisions and times.

    Chunks are (id, position, text). `arrivals` are the ids of chunks in the history, and `history` is all
    else in it: the two run side by side, so only each for itself has a fixed order.
    """

    memories: list[Kept]
    chunks: list[tuple[str, int, str]]
    cursor: int
    arrivals: list[str]
    history: list[Applied | Other]


def connect(address: str) -> grpc.Channel:
    """A channel that finds a restarted service again within milliseconds."""
    options = [
        ("grpc.initial_reconnect_backoff_ms", 5),
        ("grpc.min_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 20),
        ("grpc.enable_retries", 0),
        ("grpc.enable_http_proxy", 0),
        ("grpc.use_local_subchannel_pool", 1),
    ]
    return grpc.insecure_channel(address, options=options)


def bank_state(address: str, bank_id: str) -> BankState:
    """Reads a bank through the service at `address`."""
    with connect(address) as channel:
        stub = MemoryServiceStub(channel)
        events = _pages(stub.ListBankEvents, rpc.ListBankEventsRequest(bank_id=bank_id), "events")
        memories = _pages(stub.ListMemories, rpc.ListMemoriesRequest(bank_id=bank_id), "memories")
        chunks = _pages(stub.ListChunks, rpc.ListChunksRequest(bank_id=bank_id), "chunks")
        bank = stub.GetBank(rpc.GetBankRequest(bank_id=bank_id), wait_for_ready=True, timeout=20).bank
    assert bank.stats.chunk_count == len(chunks)
    return BankState(
        memories=[_memory(memory) for memory in memories],
        chunks=[(chunk.chunk_id, chunk.position, chunk.text) for chunk in chunks],
        cursor=bank.cursor,
        arrivals=[e.chunk_appended.chunk.chunk_id for e in events if e.HasField("chunk_appended")],
        history=[_event(event) for event in events if not event.HasField("chunk_appended")],
    )


def _pages(call: Callable[..., Any], request: Any, field: str) -> list[Any]:
    request.page_size = PAGE
    items: list[Any] = []
    while True:
        page = call(request, wait_for_ready=True, timeout=20)
        items += getattr(page, field)
        request.page_token = page.next_page_token
        if not request.page_token:
            return items


def _memory(memory: pb.Memory) -> Kept:
    origin = memory.provenance
    place = (origin.chunk_id, origin.chunk_position, origin.operation_index)
    return Kept(memory.id, memory.type, memory.content, memory.event_time, *place)


def _event(event: pb.BankEvent) -> Applied | Other:
    if not event.HasField("operation_applied"):
        moved = event.cursor_moved
        return Other(event.WhichOneof("event"), moved.from_position, moved.to_position)
    applied = event.operation_applied
    return Applied(
        chunk_position=applied.provenance.chunk_position,
        operation_index=applied.provenance.operation_index,
        verb=applied.operation.WhichOneof("operation"),
        operation=applied.operation.SerializeToString(deterministic=True),
        memory_id=applied.result.memory.id,
        error=applied.result.error.reason,
    )
