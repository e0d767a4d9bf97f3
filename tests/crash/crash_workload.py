"""A client that writes banks, remembers every acknowledgement, and repeats a call until it has one.

What it writes follows from the number of the step alone, so that two runs can be compared. It trusts nothing:
each acknowledgement is held against what the service says later, at once and at the end, and if they differ
it raises `Loss`.
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Self

import grpc
from crash_service import Service
from crash_state import connect

from memalpha.api.memory.v1alpha1 import memory_pb2 as pb
from memalpha.api.memory.v1alpha1 import memory_service_pb2 as rpc
from memalpha.api.memory.v1alpha1.memory_service_pb2_grpc import MemoryServiceStub

BANKS = ("ada", "ben", "cleo")
PATIENCE_SECONDS = 60
CALL_SECONDS = 2
SEMANTIC, EPISODIC, CORE = (
    pb.MemoryType.MEMORY_TYPE_SEMANTIC,
    pb.MemoryType.MEMORY_TYPE_EPISODIC,
    pb.MemoryType.MEMORY_TYPE_CORE,
)
VIEW = rpc.RecentView(semantic=3, episodic=3)
AWAY = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


class Loss(AssertionError):
    """Something acknowledged is gone, doubled or changed."""


@dataclass
class Acknowledged:
    """What the service said it had done for one bank."""

    positions: dict[str, int] = field(default_factory=dict)
    cursor: int = 0
    memory_ids: list[int] = field(default_factory=list)


def write_banks(service: Service, steps: int) -> dict[str, Acknowledged]:
    """Writes all banks at once, one thread each, so that their records share transactions."""

    def write(bank_id: str) -> Acknowledged:
        with BankWriter(service, bank_id) as writer:
            writer.write(steps)
            return writer.acknowledged

    with ThreadPoolExecutor(len(BANKS)) as pool:
        return dict(zip(BANKS, pool.map(write, BANKS), strict=True))


class BankWriter:
    """Appends chunks to a bank and memorizes them, one after the other."""

    def __init__(self, service: Service, bank_id: str, before: Acknowledged | None = None) -> None:
        self.bank_id = bank_id
        self.acknowledged = before or Acknowledged()
        self._service = service
        self._channel = connect(service.address)
        self._stub = MemoryServiceStub(self._channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._channel.close()

    def write(self, steps: int) -> None:
        """Makes the bank; each step appends one or two chunks and memorizes them."""
        self.create()
        for step in range(steps):
            first = len(self.acknowledged.positions)
            self.append(count=1 + step % 2)
            for position in range(first, len(self.acknowledged.positions)):
                self._memorize(position)

    def create(self) -> None:
        """Makes the bank."""
        request = rpc.CreateBankRequest(bank_id=self.bank_id, request_id=f"create-{self.bank_id}")
        self._until_answered(self._stub.CreateBank, request)

    def append(self, count: int) -> None:
        """Appends the next chunks."""
        self._store(len(self.acknowledged.positions), count)

    def repeat(self) -> None:
        """Appends the last chunk again: stores nothing, and waits for all that was under way before."""
        self._store(len(self.acknowledged.positions) - 1, 1, expect_new=False)

    def _store(self, first: int, count: int, *, expect_new: bool = True) -> None:
        chunks = [pb.Chunk(chunk_id=f"chunk-{n}", text=text_of(n)) for n in range(first, first + count)]
        request = rpc.AppendChunksRequest(bank_id=self.bank_id, chunks=chunks)
        reply, attempts = self._until_answered(self._stub.AppendChunks, request)
        for chunk, result in zip(chunks, reply.results, strict=True):
            if result.already_stored and attempts == 1 and expect_new:
                raise Loss(f"{chunk.chunk_id} was sent once and is already stored")
            self.acknowledged.positions[chunk.chunk_id] = result.position
        placed = [result.position for result in reply.results]
        if placed != list(range(first, first + count)):
            raise Loss(f"chunks {first} to {first + count - 1} were stored at {placed}")

    def _memorize(self, position: int) -> None:
        view_request = rpc.GetWriterViewRequest(bank_id=self.bank_id, recent=VIEW)
        view, _ = self._until_answered(self._stub.GetWriterView, view_request)
        self._expect(view, position)
        request = rpc.ApplyOperationsRequest(
            bank_id=self.bank_id,
            bank_uid=view.bank.bank_uid,
            cursor_token=view.bank.cursor_token,
            memory_revision=view.bank.memory_revision,
            operations=operations_for(position, view),
            advance_to=position + 1,
            request_id=f"memorize-{position}",
        )
        reply, _ = self._until_answered(self._stub.ApplyOperations, request)
        if reply.cursor != position + 1:
            raise Loss(f"the cursor is {reply.cursor} after chunk {position}")
        self.acknowledged.cursor = reply.cursor
        inserts = zip(request.operations, reply.results, strict=True)
        new = [result.memory.id for operation, result in inserts if operation.HasField("insert")]
        self.acknowledged.memory_ids += [memory_id for memory_id in new if memory_id]

    def _expect(self, view: rpc.GetWriterViewResponse, position: int) -> None:
        found = view.bank.cursor, view.next_chunk.chunk_id, view.next_chunk.text
        expected = position, f"chunk-{position}", text_of(position)
        if found != expected:
            raise Loss(f"acknowledged {expected} as next chunk of {self.bank_id}, found {found}")

    def _until_answered(self, call: Callable[..., Any], request: Any) -> tuple[Any, int]:
        """The reply, and how often it was asked for."""
        give_up = time.monotonic() + PATIENCE_SECONDS
        attempts = 0
        while True:
            attempts += 1
            try:
                return call(request, wait_for_ready=True, timeout=CALL_SECONDS), attempts
            except grpc.RpcError as error:
                status: Any = error
                if self._service.complaint:
                    raise Loss(self._service.complaint) from None
                if status.code() not in AWAY or time.monotonic() > give_up:
                    what = f"{status.code().name} {status.details()}"
                    raise Loss(f"{type(request).__name__}: {what}") from None


def text_of(position: int) -> str:
    """The text of the chunk at a position."""
    return f"On day {position} Ada saw {position * position} birds. " + "They sang. " * (position % 40)


def operations_for(position: int, view: rpc.GetWriterViewResponse) -> list[pb.Operation]:
    """Every kind of operation, and now and then one that is refused."""
    fact = pb.InsertOperation(type=SEMANTIC, content=f"Ada counted {position * position} birds")
    operations = [pb.Operation(insert=fact)]
    if position % 2:
        event = pb.InsertOperation(type=EPISODIC, content=f"Walk {position}", event_time="2024-05-01")
        operations.append(pb.Operation(insert=event))
        core = pb.UpdateOperation(type=CORE, content=f"Ada has walked {position} times.")
        operations.append(pb.Operation(update=core))
    if position % 3 == 2:
        oldest = view.semantic[0].id
        changed = pb.UpdateOperation(type=SEMANTIC, memory_id=oldest, content=f"Revised on day {position}")
        operations.append(pb.Operation(update=changed))
    if position % 5 == 4:
        operations.append(
            pb.Operation(delete=pb.DeleteOperation(type=SEMANTIC, memory_id=view.semantic[1].id))
        )
        operations.append(pb.Operation(insert=fact))
    return operations
