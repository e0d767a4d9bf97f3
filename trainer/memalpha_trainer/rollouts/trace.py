"""A memory's way through a rollout, read off the operations: sizes, who last wrote what, what was deleted.

The bank says what is stored now; only the operations say which chunk a memory owes its content to, and what
is not there any more because a chunk deleted it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from memalpha.agent.loop import ChunkOutcome
from memalpha.api.memory.v1alpha1.memory_pb2 import Memory, MemoryType, OperationError, OperationResult
from memalpha.api.memory.v1alpha1.memory_pb2 import Operation as Applied
from memalpha_trainer.records import Operation
from memcore import count_tokens

_TYPES = {
    MemoryType.MEMORY_TYPE_CORE: "core",
    MemoryType.MEMORY_TYPE_SEMANTIC: "semantic",
    MemoryType.MEMORY_TYPE_EPISODIC: "episodic",
}
CORE = 0
"""What records call core memory's id."""


@dataclass(frozen=True, slots=True)
class Tombstone:
    """A deleted memory, and the chunk that deleted it."""

    memory: Memory
    chunk: int


@dataclass(slots=True)
class Trace:
    """The memory after the chunks that were told so far.

    Attributes:
        writers: The chunk that last wrote each memory, by its id; deleted ones are not there.
        tombstones: Memories that were deleted, the latest last.
        tokens: o200k tokens of all that is stored.
    """

    writers: dict[int, int] = field(default_factory=dict)
    tombstones: list[Tombstone] = field(default_factory=list)
    tokens: int = 0
    _sizes: dict[int, int] = field(default_factory=dict)

    def tell(self, chunk: int, outcome: ChunkOutcome) -> tuple[Operation, ...]:
        """Takes in what one chunk did; its operations as they go on record."""
        pairs = zip(outcome.operations, outcome.results, strict=True)
        return tuple(self._tell(chunk, operation, result) for operation, result in pairs)

    def _tell(self, chunk: int, operation: Applied, result: OperationResult) -> Operation:
        kind = operation.WhichOneof("operation") or "rejected"
        if result.HasField("error"):
            return _refused(kind, operation, result)
        memory = result.memory
        place = CORE if memory.type == MemoryType.MEMORY_TYPE_CORE else memory.id
        if kind == "delete":
            self._forget(place, memory, chunk)
        else:
            self._keep(place, memory.content, chunk)
        return Operation(kind, _TYPES[memory.type], place, memory.content, memory.event_time)

    def _keep(self, place: int, content: str, chunk: int) -> None:
        size = count_tokens(content)
        self.tokens += size - self._sizes.get(place, 0)
        self._sizes[place] = size
        self.writers[place] = chunk

    def _forget(self, place: int, memory: Memory, chunk: int) -> None:
        self.tokens -= self._sizes.pop(place, 0)
        self.writers.pop(place, None)
        self.tombstones.append(Tombstone(memory, chunk))


def _refused(kind: str, operation: Applied, result: OperationResult) -> Operation:
    """An operation that did nothing, with the reason's name."""
    reason = OperationError.Reason.Name(result.error.reason).removeprefix("REASON_").lower()
    content, time = _written(operation)
    return Operation(kind, content=content, event_time=time, error=reason)


def _written(operation: Applied) -> tuple[str, str]:
    if operation.HasField("insert"):
        return operation.insert.content, operation.insert.event_time
    if operation.HasField("update"):
        return operation.update.content, operation.update.event_time
    return operation.rejected.text, ""


def stream_tokens(texts: Sequence[str]) -> int:
    """o200k tokens of a stream."""
    return sum(map(count_tokens, texts))
