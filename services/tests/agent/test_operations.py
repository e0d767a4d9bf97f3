import pytest

from memalpha.agent.operations import cut, operations
from memalpha.agent.tools import ParseError, ToolCall
from memalpha.api.memory.v1alpha1.memory_pb2 import (
    DeleteOperation,
    InsertOperation,
    Operation,
    OperationError,
    UpdateOperation,
)

from .support import CORE, EPISODIC, SEMANTIC, delete, insert, update, update_core

ALIASES = {"a": (SEMANTIC, 31), "b": (EPISODIC, 7)}


def only(found: ToolCall | ParseError) -> Operation:
    (operation,) = operations([found], ALIASES)
    return operation


def test_calls_become_operations_on_the_memories_their_aliases_stand_for() -> None:
    assert operations([insert("x"), update("a", "y"), delete("b", kind="episodic_memory")], ALIASES) == [
        Operation(insert=InsertOperation(type=SEMANTIC, content="x")),
        Operation(update=UpdateOperation(type=SEMANTIC, memory_id=31, content="y")),
        Operation(delete=DeleteOperation(type=EPISODIC, memory_id=7)),
    ]


def test_core_memory_needs_no_id() -> None:
    assert only(update_core("x")) == Operation(update=UpdateOperation(type=CORE, content="x"))


def test_an_update_without_a_time_keeps_the_old_one_and_an_empty_time_clears_it() -> None:
    kept = ToolCall("memory_update", {"memory_type": "episodic", "memory_id": "b", "new_content": "x"})
    cleared = ToolCall("memory_update", {**kept.arguments, "event_time": ""})
    assert not only(kept).update.HasField("event_time")
    assert only(cleared).update.HasField("event_time")


@pytest.mark.parametrize(
    ("found", "reason", "message"),
    [
        (update("z", "x"), "REASON_NOT_IN_VIEW", "memory_id must be one of those shown, not 'z'"),
        (delete("b"), "REASON_MEMORY_NOT_FOUND", "memory b was not shown as a semantic_memory"),
        (delete(""), "REASON_MALFORMED_CALL", "memory_id must be given for semantic_memory"),
        (
            insert("x", kind="core_memory"),
            "REASON_CORE_NOT_INSERTABLE",
            "core_memory cannot be inserted into, only updated",
        ),
        (ParseError("{", "broken", 0, 1), "REASON_MALFORMED_CALL", "broken"),
    ],
)
def test_what_cannot_be_done_is_recorded_with_its_reason(
    found: ToolCall | ParseError, reason: str, message: str
) -> None:
    rejected = only(found).rejected
    assert OperationError.Reason.Name(rejected.error.reason) == reason
    assert rejected.error.message == message


def test_a_rejected_call_keeps_the_models_text() -> None:
    assert only(ToolCall("forget", {}, '{"name": "forget"}')).rejected.text == '{"name": "forget"}'


def test_a_cut_text_is_valid_and_within_its_bytes() -> None:
    # An "é" takes two bytes: the third one would be cut in half.
    assert cut("ééé", 5) == "éé"
    assert cut("a\ud800", 10) == "a?"
