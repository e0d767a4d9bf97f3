"""The writer's prompts: rendered from a view for any policy, and read back by policies that are no model.

There is one for a chunk, and one for memories that are to be put in order.

A prompt pack holds the words. In the default one the system message is the same for every chunk, and the user
message goes from what changes least to what changes most (core, memories, chunk), so that an engine can cache
prefixes. Memories are shown under short aliases (a, b, c …) instead of their ids: they cost a model one token
and cannot be mistaken for another bank's. Where a pack keeps the default's user message,
`read_prompt(render_prompt(view).messages[1].content)` gives back every text of the view, whatever it holds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import count, product
from string import Template, ascii_lowercase

from memalpha.agent import escapes, packs
from memalpha.agent.packs import PromptPack
from memalpha.agent.tools import TYPE_NAMES
from memalpha.agent.wire import WireFormat
from memalpha.api.memory.v1alpha1.memory_pb2 import Bank, Chunk, Memory, MemoryType
from memalpha.api.memory.v1alpha1.memory_service_pb2 import GetWriterViewResponse
from memalpha.api.policy.v1alpha1.policy_service_pb2 import ChatMessage, Role
from memalpha.errors import InvalidInputError, make

DEFAULT_CORE_TOKENS = 512
Aliases = dict[str, tuple[MemoryType.ValueType, int]]

_QUOTE = '"'
_HEX_NAMES = 1 << 16
_SCATTER = 40_503
_BODY = r"((?:[^<]++|<(?!/))*+)"
_QUOTED = r'"((?:[^"\\\n]|\\.)*+)"'
_MEMORY = (
    rf'<core_memory limit="(\d{{1,9}})">\n{_BODY}</core_memory>\n'
    rf'<semantic_memory shown="\d+" total="\d+">\n{_BODY}</semantic_memory>\n'
    rf'<episodic_memory shown="\d+" total="\d+">\n{_BODY}</episodic_memory>\n'
)
_USER = re.compile(rf"{_MEMORY}<chunk(?: time={_QUOTED})?(?: source={_QUOTED})?>\n{_BODY}</chunk>\s*")
# What a pack says after the memories is its own.
_CONSOLIDATION = re.compile(rf"{_MEMORY}[^<]*+")
_ITEM = re.compile(r"\[([a-z]+)\] (?:\(((?:[^\\()]|\\.)*+)\) )?(.*)")


@dataclass(frozen=True, slots=True)
class Prompt:
    """A rendered prompt, what its aliases stand for, and its pack's digest.

    `tools_json` is empty unless the engine is to hand the tools over beside the messages.
    """

    messages: list[ChatMessage]
    aliases: Aliases
    digest: str
    tools_json: str = ""


@dataclass(frozen=True, slots=True)
class PromptItem:
    """A memory as the prompt shows it; `event_time` is empty if it has none."""

    alias: str
    event_time: str
    content: str


@dataclass(frozen=True, slots=True)
class PromptView:
    """What a user message shows. `core_limit` is in o200k tokens; memories alone come without a chunk."""

    core: str
    core_limit: int
    semantic: list[PromptItem]
    episodic: list[PromptItem]
    chunk: str
    chunk_time: str
    chunk_source: str


def render_prompt(view: GetWriterViewResponse, wire: WireFormat, pack: PromptPack | None = None) -> Prompt:
    """The prompt for the view's next chunk.

    Args:
        view: With `next_chunk` set.
        wire: The format of the policy's calls; its instructions go into the prompt.
        pack: The words; None means the default pack's.
    """
    pack = pack or packs.load("default")
    return _rendered(view, wire, pack, (pack.writer_system, pack.writer_user), pack.digest(wire))


def render_consolidation(view: GetWriterViewResponse, wire: WireFormat, pack: PromptPack) -> Prompt:
    """The prompt for the view's memories, without a chunk; the pack has to have words for it."""
    assert pack.consolidate is not None
    return _rendered(view, wire, pack, pack.consolidate, pack.consolidate_digest(wire))


def _rendered(
    view: GetWriterViewResponse,
    wire: WireFormat,
    pack: PromptPack,
    templates: tuple[Template, Template],
    digest: str,
) -> Prompt:
    memories = [*view.semantic, *view.episodic]
    named = list(zip(_aliases(memories, pack), memories, strict=False))
    values = _values(view, named, pack) | {"tools": pack.instructions(wire)}
    roles = (Role.ROLE_SYSTEM, Role.ROLE_USER)
    messages = [
        ChatMessage(role=role, content=template.substitute(values))
        for role, template in zip(roles, templates, strict=True)
    ]
    aliases = {alias: (memory.type, memory.id) for alias, memory in named}
    return Prompt(messages, aliases, digest, wire.tools_json())


@lru_cache
def is_readable(pack: PromptPack) -> bool:
    """Whether `read_prompt` understands the pack's user messages, as a policy without a model has to."""
    try:
        seen = read_prompt(pack.writer_user.substitute(_probe(pack)))
    except (InvalidInputError, KeyError):
        return False
    return (seen.core, seen.chunk, len(seen.semantic), len(seen.episodic)) == ("a", "c", 1, 1)


@lru_cache
def is_consolidation_readable(pack: PromptPack) -> bool:
    """Whether `read_consolidation` understands the pack's user messages; not if it has none."""
    if pack.consolidate is None:
        return False
    try:
        seen = read_consolidation(pack.consolidate[1].substitute(_probe(pack)))
    except (InvalidInputError, KeyError):
        return False
    return seen is not None and (seen.core, len(seen.semantic), len(seen.episodic)) == ("a", 1, 1)


def _probe(pack: PromptPack) -> dict[str, object]:
    """The templates' variables for core memory `a`, chunk `c`, and a memory of each type."""
    memory = Memory(type=MemoryType.MEMORY_TYPE_SEMANTIC, id=1, content="b")
    view = GetWriterViewResponse(
        core=Memory(content="a"), semantic=[memory], episodic=[memory], next_chunk=Chunk(text="c")
    )
    return _values(view, [("a", memory), ("b", memory)], pack)


def read_prompt(user_text: str) -> PromptView:
    """What a user message of `render_prompt` shows.

    Raises:
        InvalidInputError: `PROMPT_NOT_UNDERSTOOD`, for a text of any other layout.
    """
    match = _USER.fullmatch(user_text)
    if match is None:
        raise _not_understood(
            "the last user message is not laid out as core_memory, semantic_memory, …, chunk"
        )
    limit, core, semantic, episodic, time, source, chunk = match.groups()
    return PromptView(
        core=escapes.unblock(core.removesuffix("\n")),
        core_limit=int(limit),
        semantic=_read_items(semantic),
        episodic=_read_items(episodic),
        chunk=escapes.unblock(chunk.removesuffix("\n")),
        chunk_time=escapes.unline(time or ""),
        chunk_source=escapes.unline(source or ""),
    )


def read_consolidation(user_text: str) -> PromptView | None:
    """What a user message of `render_consolidation` shows; None for a text of any other layout.

    Raises:
        InvalidInputError: `PROMPT_NOT_UNDERSTOOD`, for memories that are not shown as `[a] text`.
    """
    match = _CONSOLIDATION.fullmatch(user_text)
    if match is None:
        return None
    limit, core, semantic, episodic = match.groups()
    return PromptView(
        core=escapes.unblock(core.removesuffix("\n")),
        core_limit=int(limit),
        semantic=_read_items(semantic),
        episodic=_read_items(episodic),
        chunk="",
        chunk_time="",
        chunk_source="",
    )


def core_limit(bank: Bank) -> int:
    """Most o200k tokens of the bank's core memory."""
    settings = bank.settings
    return settings.core_token_limit if settings.HasField("core_token_limit") else DEFAULT_CORE_TOKENS


def alias_names() -> Iterator[str]:
    """a, b … z, aa, ab … without end."""
    for length in count(1):
        yield from map("".join, product(ascii_lowercase, repeat=length))


def _values(
    view: GetWriterViewResponse, named: list[tuple[str, Memory]], pack: PromptPack
) -> dict[str, object]:
    """The templates' variables, all but `tools`."""
    stats, chunk, empty = view.bank.stats, view.next_chunk, pack.manifest.empty
    semantic, episodic = named[: len(view.semantic)], named[len(view.semantic) :]
    return {
        "core_limit": core_limit(view.bank),
        "core": escapes.block(view.core.content) or empty,
        "semantic_shown": len(semantic),
        "semantic_total": stats.semantic_count,
        "semantic": _items(semantic) or _line(empty),
        "episodic_shown": len(episodic),
        "episodic_total": stats.episodic_count,
        "episodic": _items(episodic) or _line(empty),
        "attributes": _attributes(chunk),
        "chunk": escapes.block(chunk.text),
        "chunk_time": escapes.line(chunk.event_time),
        "chunk_source": escapes.line(chunk.source),
        "disabled": _disabled(view.bank),
    }


def _aliases(memories: list[Memory], pack: PromptPack) -> Iterator[str]:
    return alias_names() if pack.manifest.aliases == "letters" else _hex_names(memories)


def _hex_names(memories: list[Memory]) -> Iterator[str]:
    """Four hexadecimal digits of each id, the same ones in every view that has no clash."""
    taken: set[int] = set()
    for memory in memories:
        # An odd factor makes neighbours look unlike and keeps 65,536 ids in a row apart.
        number = memory.id * _SCATTER % _HEX_NAMES
        while number in taken:
            number = (number + 1) % _HEX_NAMES
        taken.add(number)
        yield f"{number:04x}"


def _disabled(bank: Bank) -> str:
    names = [TYPE_NAMES[type] for type in bank.settings.disabled_types]
    return f"- Do not write to {', '.join(names)}: it is switched off.\n" if names else ""


def _line(text: str) -> str:
    return f"{text}\n" if text else ""


def _items(named: Iterable[tuple[str, Memory]]) -> str:
    return "".join(f"[{alias}] {_item(memory)}\n" for alias, memory in named)


def _item(memory: Memory) -> str:
    content = escapes.line(memory.content)
    if memory.event_time:
        return f"({escapes.line(memory.event_time, '()')}) {content}"
    # Without this, content in parentheses would be read as a time.
    return f"\\{content}" if content.startswith("(") else content


def _attributes(chunk: Chunk) -> str:
    values = {"time": chunk.event_time, "source": chunk.source}
    return "".join(f' {key}="{escapes.line(value, _QUOTE)}"' for key, value in values.items() if value)


def _read_items(body: str) -> list[PromptItem]:
    return [_read_item(each) for each in body.removesuffix("\n").split("\n")] if body else []


def _read_item(text: str) -> PromptItem:
    match = _ITEM.fullmatch(text)
    if match is None:
        raise _not_understood(f"a memory must be shown as `[a] text`, not {text[:100]!r}")
    alias, time, content = match.groups()
    return PromptItem(alias, escapes.unline(time or ""), escapes.unline(content))


def _not_understood(message: str) -> InvalidInputError:
    return make(InvalidInputError, "PROMPT_NOT_UNDERSTOOD", f"prompt not understood: {message}")
