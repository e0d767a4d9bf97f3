"""Scripted writers: policies that are no model, for rows to compare with and for imitation.

A writer sees what a model would see, the prompt, and answers what a model would answer, tool calls as text;
everything after that is the real path. `ScriptedPolicy` makes an agent's policy of one. Writers of one task
stand with it; those here know no task.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Protocol

from memalpha.agent import wire
from memalpha.agent.prompts import PromptView, read_prompt
from memalpha.agent.protocols import Completion
from memalpha.agent.tools import ToolCall
from memalpha.api.policy.v1alpha1.policy_service_pb2 import (
    FinishReason,
    GenerateRequest,
    GetPolicyResponse,
    PolicyIdentity,
    Usage,
)
from memcore import count_tokens

_SENTENCE = re.compile(r".*?[.!?](?:\s+|$)|.+$", re.DOTALL)


class Writer(Protocol):
    """Turns one prompt into calls. One writer writes one memory, chunk by chunk."""

    def calls(self, view: PromptView) -> list[ToolCall]:
        """What to do about the view's chunk; called once for each chunk, in order."""
        ...


class ScriptedPolicy:
    """A writer as the agent's `Policy`, in the `lines` wire format."""

    def __init__(self, name: str, writer: Writer) -> None:
        """Writes what `writer` says, under the policy id `name`."""
        self._writer = writer
        self._wire = wire.get("lines")
        self._identity = PolicyIdentity(policy_id=name)

    async def generate(self, request: GenerateRequest) -> Completion:
        """The writer's calls as text; `InvalidInputError` for a prompt of another layout than the agent's."""
        text = self._wire.render(self._writer.calls(read_prompt(request.chat.messages[-1].content)))
        return Completion(text, FinishReason.FINISH_REASON_STOP, self._identity, Usage())

    async def describe(self) -> GetPolicyResponse:
        """Says that no model is behind this policy."""
        return GetPolicyResponse(
            policy=self._identity, engine="scripted", model_free=True, wire_format=self._wire.name
        )


@dataclass(frozen=True, slots=True)
class Empty:
    """Never writes anything: the floor."""

    def calls(self, view: PromptView) -> list[ToolCall]:
        """None."""
        return []


@dataclass(slots=True)
class Verbatim:
    """Stores the chunks as they are, with their time, one memory each.

    Attributes:
        share: Of the tokens; below 1 only sentences for which there is room are kept, so that after every
            chunk at most this share of all tokens so far is stored.
    """

    share: float = 1.0
    _room: float = field(default=0.0, init=False)
    _stored: set[str] = field(default_factory=set, init=False)

    def calls(self, view: PromptView) -> list[ToolCall]:
        """One insert, unless not even a sentence fits."""
        self._room += self.share * count_tokens(view.chunk)
        kept = view.chunk if self.share >= 1 else self._fitting(view.chunk)
        self._room -= count_tokens(kept)
        self._stored.add(kept)
        return [insert(kept, view.chunk_time)] if kept else []

    def _fitting(self, text: str) -> str:
        """The sentences for which there is room, whole; none that would be refused as a duplicate."""
        kept = ""
        for sentence in _SENTENCE.findall(text):
            longer = f"{kept}{sentence}".strip()
            if count_tokens(longer) <= self._room and longer not in self._stored:
                kept += sentence
        return kept.strip()


def insert(content: str, event_time: str = "") -> ToolCall:
    """Adds a memory: episodic if it has a time, else semantic."""
    return ToolCall("new_memory_insert", {"content": content, **_placed(event_time)})


def update(alias: str, content: str, event_time: str = "") -> ToolCall:
    """Replaces a memory, as `insert` would have written it."""
    return ToolCall("memory_update", {"memory_id": alias, "new_content": content, **_placed(event_time)})


def delete(alias: str, *, episodic: bool = False) -> ToolCall:
    """Removes a memory."""
    kind = "episodic_memory" if episodic else "semantic_memory"
    return ToolCall("memory_delete", {"memory_type": kind, "memory_id": alias})


def _placed(event_time: str) -> dict[str, object]:
    if event_time:
        return {"memory_type": "episodic_memory", "event_time": event_time}
    return {"memory_type": "semantic_memory"}
