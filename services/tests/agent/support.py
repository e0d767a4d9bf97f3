"""A policy that follows a script, and short ways to build what the tests of the agent need."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from memalpha.agent import wire
from memalpha.agent.operations import operations
from memalpha.agent.prompts import PromptView, read_prompt
from memalpha.agent.protocols import Completion
from memalpha.agent.settings import AgentSettings
from memalpha.agent.tools import ToolCall
from memalpha.api.agent.v1alpha1.agent_service_pb2 import MemorizeItem, MemorizeRequest
from memalpha.api.memory.v1alpha1.memory_pb2 import Chunk, Memory, MemoryType
from memalpha.api.memory.v1alpha1.memory_service_pb2 import ApplyOperationsRequest
from memalpha.api.policy.v1alpha1.policy_service_pb2 import (
    FinishReason,
    GenerateRequest,
    GetPolicyResponse,
    PolicyIdentity,
    Usage,
)
from memalpha.client import AsyncMemoryClient
from memalpha.errors import MemalphaError

CORE = MemoryType.MEMORY_TYPE_CORE
SEMANTIC = MemoryType.MEMORY_TYPE_SEMANTIC
EPISODIC = MemoryType.MEMORY_TYPE_EPISODIC

HERMES = wire.get("hermes")
QUICK = AgentSettings(poll_seconds=0.02, backoff_seconds=0.001, longest_backoff_seconds=0.01)

Step = str | MemalphaError | Sequence[ToolCall] | Callable[[PromptView], Sequence[ToolCall]]


class ScriptedPolicy:
    """Answers with one step of its script after the other; the last one is repeated.

    A step is text, calls, an error to raise, or a function from the prompt to calls. `before` runs while
    the policy "thinks": between the view and the record.
    """

    def __init__(
        self,
        *script: Step,
        before: Callable[[PromptView], Awaitable[None]] | None = None,
        max_context_tokens: int = 0,
        wire_format: str = "hermes",
    ) -> None:
        self.seen: list[PromptView] = []
        self.requests: list[GenerateRequest] = []
        self._script = list(script)
        self._before = before
        self._description = GetPolicyResponse(
            policy=PolicyIdentity(policy_id="scripted-1", policy_version=7),
            max_context_tokens=max_context_tokens,
            wire_format=wire_format,
        )

    async def generate(self, request: GenerateRequest) -> Completion:
        view = read_prompt(request.chat.messages[-1].content)
        self.seen.append(view)
        self.requests.append(request)
        if self._before is not None:
            await self._before(view)
        step = self._script.pop(0) if len(self._script) > 1 else self._script[0]
        return Completion(
            _text(step, view),
            FinishReason.FINISH_REASON_STOP,
            self._description.policy,
            Usage(prompt_tokens=1),
        )

    async def describe(self) -> GetPolicyResponse:
        return self._description


class PlainPolicy:
    """A model that answers any prompt with one text after the other, the last one again and again."""

    def __init__(self, *script: str | MemalphaError, **description: Any) -> None:
        self.requests: list[GenerateRequest] = []
        self._script = list(script)
        self._description = GetPolicyResponse(
            **{"policy": PolicyIdentity(policy_id="plain-1", policy_version=2), "wire_format": "hermes"}
            | description
        )

    async def generate(self, request: GenerateRequest) -> Completion:
        self.requests.append(request)
        step = self._script.pop(0) if len(self._script) > 1 else self._script[0]
        if isinstance(step, MemalphaError):
            raise step
        usage = Usage(prompt_tokens=70, completion_tokens=7)
        return Completion(step, FinishReason.FINISH_REASON_STOP, self._description.policy, usage)

    async def describe(self) -> GetPolicyResponse:
        return self._description


def _text(step: Step, view: PromptView) -> str:
    if isinstance(step, MemalphaError):
        raise step
    if isinstance(step, str):
        return step
    return HERMES.render(step(view) if callable(step) else step)


def insert(content: str, *, kind: str = "semantic_memory", event_time: str = "") -> ToolCall:
    arguments: dict[str, object] = {"memory_type": kind, "content": content}
    return ToolCall("new_memory_insert", arguments | ({"event_time": event_time} if event_time else {}))


def update(alias: str, content: str, *, kind: str = "semantic_memory") -> ToolCall:
    return ToolCall("memory_update", {"memory_type": kind, "memory_id": alias, "new_content": content})


def update_core(content: str) -> ToolCall:
    return ToolCall("memory_update", {"memory_type": "core_memory", "new_content": content})


def delete(alias: str, *, kind: str = "semantic_memory") -> ToolCall:
    return ToolCall("memory_delete", {"memory_type": kind, "memory_id": alias})


def keep_all(view: PromptView) -> list[ToolCall]:
    """Remembers each chunk as it is."""
    return [insert(view.chunk)]


def request(*texts: str, bank: str = "b", wait: bool = False, create: bool = True) -> MemorizeRequest:
    """Items `i0`, `i1` … with these texts."""
    items = [MemorizeItem(item_id=f"i{n}", text=text) for n, text in enumerate(texts)]
    return MemorizeRequest(bank_id=bank, items=items, create_bank=create, wait=wait)


async def append(memory: AsyncMemoryClient, *texts: str, bank: str = "b") -> None:
    """Chunks `c0`, `c1` … with these texts, in a bank that is created if need be."""
    await memory.ensure_bank(bank)
    await memory.append_chunks(bank, [Chunk(chunk_id=f"c{n}", text=text) for n, text in enumerate(texts)])


async def write(memory: AsyncMemoryClient, *calls: ToolCall, bank: str = "b") -> None:
    """Writes memories by hand, as a person would."""
    await memory.ensure_bank(bank)
    await memory.apply_operations(ApplyOperationsRequest(bank_id=bank, operations=operations(calls, {})))


async def memories(memory: AsyncMemoryClient, bank: str = "b") -> list[Memory]:
    """What the bank holds besides core memory, in order of ids."""
    return [each async for each in memory.memories(bank) if each.type != CORE]


async def contents(memory: AsyncMemoryClient, bank: str = "b") -> list[str]:
    return [each.content for each in await memories(memory, bank)]
