"""What is known of a bank while it is put in order: its core memory and the memories that are looked at.

A snapshot is of one memory revision: the revision is read first, and a write that names it is refused if any
memory changed since. What the agent itself writes is followed without reading again. A dry run follows what
it would write in the same way, so that it shows the policy what a real run would.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass

from memalpha.agent.prompts import core_limit
from memalpha.agent.protocols import MemoryBackend
from memalpha.api.memory.v1alpha1.memory_pb2 import (
    Bank,
    Memory,
    MemoryType,
    Operation,
    OperationApplied,
    OperationResult,
)
from memalpha.api.memory.v1alpha1.memory_service_pb2 import (
    GetWriterViewRequest,
    GetWriterViewResponse,
    RecentView,
)
from memalpha.errors import NotFoundError, make
from memcore import count_tokens

_CORE = MemoryType.MEMORY_TYPE_CORE


@dataclass(slots=True)
class Snapshot:
    """Core memory and some memories of a bank, by their ids.

    Attributes:
        more_from: The first memory that was left out for their number; 0 if there is none.
    """

    bank: Bank
    core: Memory
    memories: dict[int, Memory]
    more_from: int = 0

    @classmethod
    async def read(cls, memory: MemoryBackend, bank_id: str, start: int, most: int) -> Snapshot:
        """The bank's first `most` memories of ids from `start` on."""
        snapshot = await _without_memories(memory, bank_id)
        async for each in memory.memories(bank_id):
            if len(snapshot.memories) == most:
                snapshot.more_from = each.id
                break
            if each.type != _CORE and each.id >= start:
                snapshot.memories[each.id] = each
        return snapshot

    async def refresh(self, memory: MemoryBackend) -> None:
        """Reads everything again; memories that are gone are left out.

        Raises:
            NotFoundError: The bank was deleted meanwhile, even if there is another one of its id.
        """
        now = await _without_memories(memory, self.bank.bank_id)
        if now.bank.bank_uid != self.bank.bank_uid:
            message = f"bank {self.bank.bank_id} was deleted and created again meanwhile"
            raise make(NotFoundError, "BANK_NOT_FOUND", message, bank_id=self.bank.bank_id)
        last = max(self.memories, default=0)
        async for each in memory.memories(self.bank.bank_id):
            if each.id > last:
                break
            if each.id in self.memories:
                now.memories[each.id] = each
        self.bank, self.core, self.memories = now.bank, now.core, now.memories

    def view(self, ids: Sequence[int]) -> GetWriterViewResponse:
        """Core memory and those of the memories that are still there, in order of their ids."""
        shown = [self.memories[id] for id in sorted(ids) if id in self.memories]
        return GetWriterViewResponse(
            bank=self.bank,
            core=self.core,
            semantic=[each for each in shown if each.type == MemoryType.MEMORY_TYPE_SEMANTIC],
            episodic=[each for each in shown if each.type == MemoryType.MEMORY_TYPE_EPISODIC],
        )

    def state(self, ids: Sequence[int]) -> Set[tuple[int, int]]:
        """Which contents a view of the same ids shows: ids with the revisions of their last changes."""
        shown = (self.memories[id] for id in ids if id in self.memories)
        return {(each.id, each.update_revision) for each in (self.core, *shown)}

    def follow(self, operation: Operation, result: OperationResult) -> OperationApplied:
        """Takes over what one operation did; returns it with the memory before."""
        before = self._target(operation)
        applied = OperationApplied(operation=operation, result=result, before=before)
        if result.HasField("memory"):
            self._take(operation, result.memory)
        return applied

    def foresee(self, operation: Operation) -> OperationResult:
        """What an operation would do that nothing speaks against."""
        if operation.HasField("delete"):
            return OperationResult(memory=self._target(operation))
        after = Memory()
        if operation.HasField("insert"):
            asked = operation.insert
            after.type, after.content, after.event_time = asked.type, asked.content, asked.event_time
        else:
            after.CopyFrom(self._target(operation) or after)
            after.content = operation.update.content
            if operation.update.HasField("event_time"):
                after.event_time = operation.update.event_time
        after.token_count = count_tokens(after.content)
        too_long = after.type == _CORE and after.token_count > core_limit(self.bank)
        return OperationResult(memory=after, truncated=too_long)

    def _target(self, operation: Operation) -> Memory | None:
        kind = operation.WhichOneof("operation")
        if kind not in ("update", "delete"):
            return None
        asked = operation.update if kind == "update" else operation.delete
        return self.core if asked.type == _CORE else self.memories.get(asked.memory_id)

    def _take(self, operation: Operation, memory: Memory) -> None:
        deleted = operation.HasField("delete")
        if memory.type == _CORE:
            self.core = Memory(type=_CORE, update_revision=memory.update_revision) if deleted else memory
        elif deleted:
            self.memories.pop(memory.id, None)
        elif memory.id in self.memories:
            self.memories[memory.id] = memory


async def _without_memories(memory: MemoryBackend, bank_id: str) -> Snapshot:
    nothing = RecentView(semantic=0, episodic=0)
    view = await memory.get_writer_view(GetWriterViewRequest(bank_id=bank_id, recent=nothing))
    return Snapshot(view.bank, view.core, {})
