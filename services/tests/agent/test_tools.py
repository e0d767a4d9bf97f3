import pytest

from memalpha.agent.tools import (
    MemoryDelete,
    MemoryUpdate,
    NewMemoryInsert,
    ToolCall,
    checked,
    is_core_insert,
    schemas,
)


def test_a_well_formed_call_becomes_its_typed_form() -> None:
    call = ToolCall(
        "new_memory_insert", {"memory_type": "episodic_memory", "content": "x", "event_time": "2023-05-08"}
    )
    assert checked(call) == NewMemoryInsert(
        memory_type="episodic_memory", content="x", event_time="2023-05-08"
    )


def test_memory_types_may_leave_out_their_suffix() -> None:
    call = ToolCall("memory_update", {"memory_type": "core", "new_content": "x"})
    assert checked(call) == MemoryUpdate(memory_type="core_memory", new_content="x")


@pytest.mark.parametrize("written", ["b", "[b]", " b "])
def test_an_id_may_keep_the_brackets_it_is_shown_in(written: str) -> None:
    call = ToolCall("memory_delete", {"memory_type": "semantic_memory", "memory_id": written})
    assert checked(call) == MemoryDelete(memory_type="semantic_memory", memory_id="b")


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (ToolCall("memory_forget", {}), "memory_forget"),
        (ToolCall("new_memory_insert", {"memory_type": "semantic_memory"}), "content"),
        (ToolCall("new_memory_insert", {"memory_type": "semantic_memory", "content": 7}), "content"),
        (ToolCall("new_memory_insert", {"memory_type": "procedural", "content": "x"}), "memory_type"),
        (ToolCall("new_memory_insert", {"memory_type": ["semantic"], "content": "x"}), "memory_type"),
        (ToolCall("new_memory_insert", {"memory_type": "semantic", "content": "\ud800"}), "content"),
        (ToolCall("memory_delete", {"memory_type": "core", "memory_id": {"a": 1}}), "memory_id"),
    ],
)
def test_a_bad_call_is_refused_with_the_name_of_what_is_wrong(call: ToolCall, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        checked(call)


def test_only_an_insert_into_core_memory_is_a_core_insert() -> None:
    assert is_core_insert(ToolCall("new_memory_insert", {"memory_type": "core_memory", "content": "x"}))
    assert is_core_insert(ToolCall("new_memory_insert", {"memory_type": "core", "content": "x"}))
    assert not is_core_insert(
        ToolCall("new_memory_insert", {"memory_type": "semantic_memory", "content": "x"})
    )
    assert not is_core_insert(ToolCall("memory_update", {"memory_type": "core_memory", "new_content": "x"}))


def test_schemas_name_the_required_arguments_and_nothing_a_model_does_not_need() -> None:
    functions = {schema["function"]["name"]: schema["function"]["parameters"] for schema in schemas()}  # type: ignore[index]
    assert functions["memory_update"]["required"] == ["memory_type", "new_content"]
    assert functions["new_memory_insert"]["properties"]["memory_type"]["enum"] == [
        "semantic_memory",
        "episodic_memory",
    ]
    assert set(functions["memory_update"]["properties"]["memory_id"]) == {"type", "description"}
