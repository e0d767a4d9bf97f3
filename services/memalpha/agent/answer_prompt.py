"""The reader's prompt, and what its answer cites.

What does not depend on the question comes first: instructions, core memory, what was retrieved, the question.
Everything retrieved has a short alias, by which the answer names what it rests on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

from memalpha.agent import escapes
from memalpha.agent.packs import PromptPack
from memalpha.agent.prompts import alias_names
from memalpha.api.agent.v1alpha1.agent_service_pb2 import Evidence
from memalpha.api.memory.v1alpha1.memory_pb2 import Chunk, Memory, MemoryType
from memalpha.api.policy.v1alpha1.policy_service_pb2 import ChatMessage, Role

LABEL_TOKENS = 3
"""What an alias costs on top of the dash that a context's lines begin with, at most."""

_CITED = re.compile(r"\[\s*(\w{1,8}(?:\s*[,;]\s*\w{1,8})*)\s*\]", re.ASCII)


@dataclass(frozen=True, slots=True)
class Shown:
    """What a reader is shown, in its order; core memory is escaped for a prompt already."""

    core: str
    memories: Sequence[Memory]
    pending: Sequence[tuple[Chunk, str]]


@dataclass(frozen=True, slots=True)
class ReaderPrompt:
    """A rendered prompt, and what it shows besides core memory, under its aliases."""

    messages: list[ChatMessage]
    evidence: list[Evidence]


def render_reader_prompt(shown: Shown, question: str, prefix: str, pack: PromptPack) -> ReaderPrompt:
    """The prompt for a question."""
    names = _names(pack)
    memories = [(next(names), memory) for memory in shown.memories]
    pending = [(next(names), chunk, text) for chunk, text in shown.pending]
    empty = pack.manifest.reader_empty
    values = {
        "core": shown.core or empty,
        "semantic": _block(memories, MemoryType.MEMORY_TYPE_SEMANTIC, pack),
        "episodic": _block(memories, MemoryType.MEMORY_TYPE_EPISODIC, pack),
        "pending": "".join(_line(name, chunk.event_time, text, pack) for name, chunk, text in pending),
        "prefix": escapes.block(prefix),
        "question": escapes.block(question),
    }
    messages = [
        ChatMessage(role=Role.ROLE_SYSTEM, content=pack.reader_system.substitute(values)),
        ChatMessage(role=Role.ROLE_USER, content=pack.reader_user.substitute(values)),
    ]
    evidence = [
        *(Evidence(memory=memory, alias=name) for name, memory in memories),
        *(Evidence(pending=chunk, alias=name) for name, chunk, _ in pending),
    ]
    return ReaderPrompt(messages, evidence)


def cited(answer: str) -> set[str]:
    """The names that an answer has in brackets, such as `[a]` or `[a, d]`."""
    groups = (match.group(1) for match in _CITED.finditer(answer))
    return {name.strip() for group in groups for name in re.split("[,;]", group)}


def _names(pack: PromptPack) -> Iterator[str]:
    return alias_names() if pack.manifest.reader_aliases == "letters" else map(str, count(1))


def _block(memories: Sequence[tuple[str, Memory]], kind: MemoryType.ValueType, pack: PromptPack) -> str:
    lines = [
        _line(name, memory.event_time, memory.content, pack)
        for name, memory in memories
        if memory.type == kind
    ]
    empty = pack.manifest.reader_empty
    return "".join(lines) or (f"{empty}\n" if empty else "")


def _line(name: str, time: str, text: str, pack: PromptPack) -> str:
    label = f"[{name}]" if pack.manifest.reader_aliases == "letters" else f"{name}."
    return f"{label} {f'({time}) ' if time else ''}{escapes.block(text)}\n"
