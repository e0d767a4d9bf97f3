"""From what a policy wrote to the operations of one batch.

Every call and every piece that is no call becomes exactly one operation, in order: what cannot be carried out
is recorded as a `RejectedCall` with its reason instead of being lost. A policy reaches only the memories that
it was shown, by their aliases.
"""

from __future__ import annotations

from collections.abc import Sequence

from memalpha.agent.prompts import Aliases
from memalpha.agent.tools import (
    TYPES,
    MemoryDelete,
    MemoryUpdate,
    NewMemoryInsert,
    ParseError,
    ToolCall,
    TypedCall,
    checked,
    is_core_insert,
)
from memalpha.api.memory.v1alpha1.memory_pb2 import (
    DeleteOperation,
    InsertOperation,
    Operation,
    OperationError,
    RejectedCall,
    UpdateOperation,
)

Reason = OperationError.Reason
_MOST_REJECTED_BYTES = 4096
_MOST_MESSAGE_BYTES = 1000


def operations(found: Sequence[ToolCall | ParseError], aliases: Aliases) -> list[Operation]:
    """One operation for each find.

    Args:
        found: What a wire format read in the policy's text.
        aliases: What the aliases of the policy's prompt stand for.
    """
    return [_operation(each, aliases) for each in found]


def cut(text: str, most_bytes: int) -> str:
    """The beginning of a text, at most so many bytes of UTF-8; lone surrogates become question marks."""
    encoded = text.encode("utf-8", "replace")
    return encoded[:most_bytes].decode("utf-8", "ignore")


class _Refused(Exception):
    """A call that names what it cannot reach."""

    def __init__(self, reason: OperationError.Reason.ValueType, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def _operation(found: ToolCall | ParseError, aliases: Aliases) -> Operation:
    if isinstance(found, ParseError):
        return _rejected(found.text, Reason.REASON_MALFORMED_CALL, found.message)
    if is_core_insert(found):
        message = "core_memory cannot be inserted into, only updated"
        return _rejected(found.text, Reason.REASON_CORE_NOT_INSERTABLE, message)
    try:
        return _typed(checked(found), aliases)
    except _Refused as refused:
        return _rejected(found.text, refused.reason, str(refused))
    except ValueError as error:
        return _rejected(found.text, Reason.REASON_MALFORMED_CALL, str(error))


def _typed(call: TypedCall, aliases: Aliases) -> Operation:
    kind = TYPES[call.memory_type]
    match call:
        case NewMemoryInsert():
            insert = InsertOperation(type=kind, content=call.content, event_time=call.event_time)
            return Operation(insert=insert)
        case MemoryUpdate():
            memory_id = _memory_id(call, aliases)
            update = UpdateOperation(type=kind, memory_id=memory_id, content=call.new_content)
            if call.event_time is not None:
                update.event_time = call.event_time
            return Operation(update=update)
        case MemoryDelete():
            return Operation(delete=DeleteOperation(type=kind, memory_id=_memory_id(call, aliases)))


def _memory_id(call: MemoryUpdate | MemoryDelete, aliases: Aliases) -> int:
    if call.memory_type == "core_memory":
        return 0
    if not call.memory_id:
        raise _Refused(Reason.REASON_MALFORMED_CALL, f"memory_id must be given for {call.memory_type}")
    if call.memory_id not in aliases:
        message = f"memory_id must be one of those shown, not {call.memory_id!r:.100}"
        raise _Refused(Reason.REASON_NOT_IN_VIEW, message)
    kind, memory_id = aliases[call.memory_id]
    if kind != TYPES[call.memory_type]:
        message = f"memory {call.memory_id} was not shown as a {call.memory_type}"
        raise _Refused(Reason.REASON_MEMORY_NOT_FOUND, message)
    return memory_id


def _rejected(text: str, reason: OperationError.Reason.ValueType, message: str) -> Operation:
    error = OperationError(reason=reason, message=cut(message, _MOST_MESSAGE_BYTES))
    return Operation(rejected=RejectedCall(text=cut(text, _MOST_REJECTED_BYTES), error=error))
