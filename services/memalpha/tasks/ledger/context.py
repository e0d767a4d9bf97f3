"""The text that a reader gets about a question: core memory and the best memories, under short aliases.

Always `MOST_MEMORIES` memories and `MOST_TOKENS` o200k tokens, however long the stream was: what a reader can
look at does not grow with what there was to remember. Memories are taken whole, best first, and written as
the writer's prompt writes them; the answer's aliases lead back to their ids.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from memalpha.agent import escapes
from memalpha.agent.prompts import alias_names
from memalpha.api.memory.v1alpha1.memory_pb2 import Memory
from memcore import count_tokens

MOST_MEMORIES = 4
MOST_TOKENS = 96
MOST_CORE_TOKENS = 32

_LINE = re.compile(r"\[([a-z]+)\] (?:\(([^()]*)\) )?(.*)")


@dataclass(frozen=True, slots=True)
class Context:
    """The text, and the ids of the memories behind its aliases."""

    text: str
    ids: dict[str, int]


@dataclass(frozen=True, slots=True)
class Line:
    """A memory as a reader sees it; core memory has an empty alias."""

    alias: str
    time: str
    text: str


def render_context(core: str, memories: Sequence[Memory]) -> Context:
    """The context of a question.

    Args:
        core: Core memory, possibly empty; the bank keeps it below `MOST_CORE_TOKENS`.
        memories: Best first; what is beyond the bounds is left out.
    """
    lines, ids = [_plain(core)] if core else [], dict[str, int]()
    for alias, memory in zip(alias_names(), memories[:MOST_MEMORIES], strict=False):
        line = f"[{alias}] {_shown(memory)}"
        if count_tokens("\n".join([*lines, line])) <= MOST_TOKENS:
            lines.append(line)
            ids[alias] = memory.id
    return Context("\n".join(lines), ids)


def read_context(text: str) -> list[Line]:
    """The memories that a context shows."""
    return [_read(line) for line in text.split("\n") if line]


def _shown(memory: Memory) -> str:
    return f"({memory.event_time}) {_plain(memory.content)}" if memory.event_time else _plain(memory.content)


def _plain(content: str) -> str:
    """One line that cannot be taken for an alias or a time."""
    line = escapes.line(content)
    return f"\\{line}" if line.startswith(("(", "[")) else line


def _read(line: str) -> Line:
    match = _LINE.fullmatch(line)
    if match is None:
        return Line("", "", escapes.unline(line))
    alias, time, content = match.groups()
    return Line(alias, time or "", escapes.unline(content))
