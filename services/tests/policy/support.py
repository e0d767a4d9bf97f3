"""Prompts for the policy as the agent renders them, and the calls that come back as the agent parses them."""

from collections.abc import Sequence

from memalpha.agent import wire
from memalpha.agent.prompts import render_prompt
from memalpha.agent.tools import ToolCall
from memalpha.api.memory.v1alpha1.memory_pb2 import Bank, BankSettings, Chunk, Memory, MemoryType
from memalpha.api.memory.v1alpha1.memory_service_pb2 import GetWriterViewResponse
from memalpha.api.policy.v1alpha1.policy_service_pb2 import ChatPrompt, GenerateRequest, SamplingParams
from memalpha.policy.extractive import ExtractiveEngine

TUESDAY = "2023-05-09T10:00"


def request(
    chunk: str,
    *,
    time: str = TUESDAY,
    core: str = "",
    core_limit: int = 512,
    semantic: Sequence[str | tuple[str, str]] = (),
    episodic: Sequence[str | tuple[str, str]] = (),
    wire_format: str = "hermes",
    max_tokens: int | None = None,
) -> GenerateRequest:
    """A request for one chunk; memories are contents or pairs of event time and content."""
    view = GetWriterViewResponse(
        bank=Bank(settings=BankSettings(core_token_limit=core_limit)),
        core=Memory(type=MemoryType.MEMORY_TYPE_CORE, content=core),
        semantic=[_memory(MemoryType.MEMORY_TYPE_SEMANTIC, 1 + n, item) for n, item in enumerate(semantic)],
        episodic=[_memory(MemoryType.MEMORY_TYPE_EPISODIC, 100 + n, item) for n, item in enumerate(episodic)],
        next_chunk=Chunk(text=chunk, event_time=time),
    )
    messages = render_prompt(view, wire.get(wire_format)).messages
    return GenerateRequest(chat=ChatPrompt(messages=messages), sampling=SamplingParams(max_tokens=max_tokens))


def _memory(kind: MemoryType.ValueType, number: int, item: str | tuple[str, str]) -> Memory:
    time, content = item if isinstance(item, tuple) else ("", item)
    return Memory(id=number, type=kind, content=content, event_time=time)


def parsed(text: str, wire_format: str = "hermes") -> list[ToolCall]:
    """The calls in a completion, which must hold nothing else."""
    found = wire.get(wire_format).parse(text)
    assert all(isinstance(each, ToolCall) for each in found), found
    return [ToolCall(each.name, each.arguments) for each in found if isinstance(each, ToolCall)]


def written(
    chunk: str,
    *,
    time: str = TUESDAY,
    core: str = "",
    semantic: Sequence[str | tuple[str, str]] = (),
    episodic: Sequence[str | tuple[str, str]] = (),
) -> list[ToolCall]:
    """What the engine writes for one chunk."""
    asked = request(chunk, time=time, core=core, semantic=semantic, episodic=episodic)
    return parsed(ExtractiveEngine("hermes").complete(asked).text)


def fact(content: str, event_time: str = "") -> ToolCall:
    """A semantic insert."""
    return _insert("semantic_memory", content, event_time)


def event(content: str, event_time: str = TUESDAY) -> ToolCall:
    """An episodic insert."""
    return _insert("episodic_memory", content, event_time)


def _insert(kind: str, content: str, event_time: str) -> ToolCall:
    timed: dict[str, object] = {"event_time": event_time} if event_time else {}
    return ToolCall("new_memory_insert", {"memory_type": kind, "content": content} | timed)


def update(alias: str, content: str, event_time: str = "") -> ToolCall:
    """A semantic update."""
    arguments: dict[str, object] = {
        "memory_type": "semantic_memory",
        "memory_id": alias,
        "new_content": content,
    }
    return ToolCall("memory_update", arguments | ({"event_time": event_time} if event_time else {}))


def delete(alias: str) -> ToolCall:
    """A semantic delete."""
    return ToolCall("memory_delete", {"memory_type": "semantic_memory", "memory_id": alias})


def profile(content: str) -> ToolCall:
    """An update of core memory."""
    return ToolCall("memory_update", {"memory_type": "core_memory", "new_content": content})
