"""The block of text that a reader gets: core memory and the best hits, within a budget of tokens.

Core memory is always in. Memories are taken whole, best first; chunks that are not memorized yet are marked,
and one that is too long gives the passage that matches best, visibly cut. While anything is pending, a
quarter of the room is kept for it: what was said last must not be crowded out by what is old. Tokens are
o200k tokens.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

from memalpha.agent import escapes
from memalpha.agent.chunking import split_text
from memalpha.api.memory.v1alpha1.memory_pb2 import Chunk, Memory, MemoryType
from memcore import count_tokens, split_tokens

CUT = "[…]"
"""Stands where a text was cut."""
PENDING = "(pending)"
"""Stands before a chunk that is not memorized yet."""

_PENDING_SHARE = 4
_CACHED_LINES = 1 << 14
_LONGEST_CACHED = 1024
_SHORTEST_PASSAGE = 16
_WORD = re.compile(r"\w+")
_SECTIONS = {
    MemoryType.MEMORY_TYPE_SEMANTIC: "semantic_memory",
    MemoryType.MEMORY_TYPE_EPISODIC: "episodic_memory",
}


@dataclass(frozen=True, slots=True)
class Context:
    """The block, its tokens, and what it holds in its order.

    Attributes:
        text: The block.
        tokens: Its tokens.
        core: Core memory, cut if it is too long.
        memories: Semantic ones, then episodic ones in order of time.
        pending: Chunks in order of the stream, each with what is shown of its text.
    """

    text: str
    tokens: int
    core: str
    memories: tuple[Memory, ...]
    pending: tuple[tuple[Chunk, str], ...]


def pack_context(
    core: str,
    memories: Sequence[Memory],
    pending: Sequence[Chunk],
    query: str,
    budget: int,
    label_tokens: int = 0,
) -> Context:
    """Packs a context.

    Args:
        core: Core memory, possibly empty.
        memories: Semantic and episodic ones, best first.
        pending: Chunks not memorized yet, best first.
        query: Whose words decide which passage of a long chunk is shown.
        budget: Most tokens of the block, at least 64.
        label_tokens: Kept free for what the caller puts before each memory and each chunk.
    """
    packing = _Packing(core, budget, label_tokens)
    kept = packing.left() // _PENDING_SHARE if pending else 0
    packing.add_memories(memories, spare=kept)
    packing.add_pending(pending, query)
    packing.add_memories(memories, spare=0)
    return packing.finish()


class _Packing:
    """What is in so far. Counts lines as they come and the whole at the end, so no joint costs are missed."""

    def __init__(self, core: str, budget: int, label_tokens: int) -> None:
        self._budget = budget
        self._label = label_tokens
        self._core = _fitted_core(core, budget) if core else ""
        self._memories: list[Memory] = []
        self._pending: list[tuple[Chunk, str]] = []
        self._used = count_tokens(self._core_section())

    def left(self) -> int:
        """Tokens still free."""
        return max(0, self._budget - self._used)

    def add_memories(self, memories: Sequence[Memory], spare: int) -> None:
        """Adds every memory that fits while `spare` tokens stay free."""
        taken = {memory.id for memory in self._memories}
        for memory in memories:
            if memory.id not in taken:
                opens = all(memory.type != other.type for other in self._memories)
                tokens = _counted(_line(memory)) + 1 + self._label
                tokens += opens * _section_tokens(_SECTIONS[memory.type])
                if tokens <= self.left() - spare:
                    self._memories.append(memory)
                    self._used += tokens

    def add_pending(self, pending: Sequence[Chunk], query: str) -> None:
        """Adds chunks until one has to be cut, or not even a passage of it fits."""
        for chunk in pending:
            opening = 0 if self._pending else _section_tokens("pending")
            room = self.left() - opening - 1 - self._label
            shown = chunk.text
            whole = count_tokens(_pending_line(chunk, shown)) <= room
            if not whole:
                passage_room = room - count_tokens(_pending_line(chunk, f"{CUT}\n\n{CUT}"))
                if passage_room < _SHORTEST_PASSAGE:
                    return
                shown = _passage(chunk.text, query, passage_room)
            self._pending.append((chunk, shown))
            self._used += opening + count_tokens(_pending_line(chunk, shown)) + 1 + self._label
            if not whole:
                return

    def finish(self) -> Context:
        """The block; gives up the last ones added should their lines cost more together than alone."""
        text, tokens = self._measured()
        while tokens + self._labels() > self._budget and (self._memories or self._pending):
            (self._memories or self._pending).pop()
            text, tokens = self._measured()
        return Context(
            text=text,
            tokens=tokens,
            core=self._core,
            memories=tuple(self._in_order()),
            pending=tuple(self._pending_in_order()),
        )

    def _measured(self) -> tuple[str, int]:
        text = self._text()
        return text, count_tokens(text)

    def _labels(self) -> int:
        return self._label * (len(self._memories) + len(self._pending))

    def _text(self) -> str:
        ordered = self._in_order()
        memories = [
            _section(name, [_line(each) for each in ordered if each.type == kind])
            for kind, name in _SECTIONS.items()
        ]
        pending = [_pending_line(chunk, shown) for chunk, shown in self._pending_in_order()]
        return "".join([self._core_section(), *memories, _section("pending", pending)])

    def _core_section(self) -> str:
        return _section("core_memory", [self._core] if self._core else [])

    def _in_order(self) -> list[Memory]:
        semantic = [each for each in self._memories if each.type == MemoryType.MEMORY_TYPE_SEMANTIC]
        episodic = [each for each in self._memories if each.type == MemoryType.MEMORY_TYPE_EPISODIC]
        return [*semantic, *sorted(episodic, key=_when)]

    def _pending_in_order(self) -> list[tuple[Chunk, str]]:
        return sorted(self._pending, key=lambda each: each[0].position)


def _fitted_core(core: str, budget: int) -> str:
    room = budget - _section_tokens("core_memory")
    text = escapes.block(core)
    if count_tokens(text) < room:
        return text
    return f"{split_tokens(text, room - count_tokens(CUT) - 2)[0]} {CUT}"


def _when(memory: Memory) -> tuple[bool, str, int]:
    """Undated events come last: where they belong is not known."""
    return not memory.event_time, memory.event_time, memory.id


def _line(memory: Memory) -> str:
    time = f"({memory.event_time}) " if memory.event_time else ""
    return f"- {time}{escapes.block(memory.content)}"


def _pending_line(chunk: Chunk, text: str) -> str:
    time = f" ({chunk.event_time})" if chunk.event_time else ""
    return f"- {PENDING}{time} {escapes.block(text)}"


def _section(name: str, lines: Sequence[str]) -> str:
    return "\n".join([f"<{name}>", *lines, f"</{name}>\n"]) if lines else ""


def _counted(line: str) -> int:
    """Tokens of a line; most hits of a question are hits of other questions too."""
    return _cached_count(line) if len(line) <= _LONGEST_CACHED else count_tokens(line)


@lru_cache(maxsize=_CACHED_LINES)
def _cached_count(line: str) -> int:
    return count_tokens(line)


@cache
def _section_tokens(name: str) -> int:
    return count_tokens(_section(name, [""])) + 1


def _passage(text: str, query: str, room: int) -> str:
    """The part of a text around the piece with most of the query's words, marked where it is cut."""
    pieces = split_text(text, max(room // 4, 8))
    words = _words(query)
    best = max(range(len(pieces)), key=lambda n: (len(words & _words(pieces[n])), -n))
    first = last = best
    used = count_tokens(pieces[best])
    while True:
        following = [n for n in (last + 1, first - 1) if 0 <= n < len(pieces)]
        fitting = [n for n in following if used + count_tokens(pieces[n]) <= room]
        if not fitting:
            break
        used += count_tokens(pieces[fitting[0]])
        first, last = min(first, fitting[0]), max(last, fitting[0])
    before = f"{CUT}\n" if first > 0 else ""
    after = f"\n{CUT}" if last < len(pieces) - 1 else ""
    return f"{before}{''.join(pieces[first : last + 1]).strip()}{after}"


def _words(text: str) -> set[str]:
    """Words, cut to five letters so that most endings do not matter."""
    return {word[:5] for word in _WORD.findall(text.casefold()) if len(word) > 2}
