"""The writer's prompt: rendered from a view for any policy, and read back by policies that are no model.

The system message holds what is the same for every chunk, the user message goes from what changes least to
what changes most (core, memories, chunk), so that an engine can cache prefixes. Memories are shown under
short aliases (a, b, c …) instead of their ids: they cost a model one token and cannot be mistaken for another
bank's. `read_prompt(render_prompt(view).messages[1].content)` gives back every text of the view, whatever it
holds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from itertools import count, product
from pathlib import Path
from string import Template, ascii_lowercase

from memalpha.agent import escapes
from memalpha.agent.tools import TYPE_NAMES
from memalpha.agent.wire import WireFormat
from memalpha.api.memory.v1alpha1.memory_pb2 import Bank, Chunk, Memory, MemoryType
from memalpha.api.memory.v1alpha1.memory_service_pb2 import GetWriterViewResponse
from memalpha.api.policy.v1alpha1.policy_service_pb2 import ChatMessage, Role
from memalpha.errors import InvalidInputError, make

DEFAULT_CORE_TOKENS = 512
Aliases = dict[str, tuple[MemoryType.ValueType, int]]

_QUOTE = '"'
_FOLDER = Path(__file__).parent / "templates"
_BODY = r"((?:[^<]++|<(?!/))*+)"
_QUOTED = r'"((?:[^"\\\n]|\\.)*+)"'
_USER = re.compile(
    rf'<core_memory limit="(\d{{1,9}})">\n{_BODY}</core_memory>\n'
    rf'<semantic_memory shown="\d+" total="\d+">\n{_BODY}</semantic_memory>\n'
    rf'<episodic_memory shown="\d+" total="\d+">\n{_BODY}</episodic_memory>\n'
    rf"<chunk(?: time={_QUOTED})?(?: source={_QUOTED})?>\n{_BODY}</chunk>\s*"
)
_ITEM = re.compile(r"\[([a-z]+)\] (?:\(((?:[^\\()]|\\.)*+)\) )?(.*)")


@dataclass(frozen=True, slots=True)
class Prompt:
    """A rendered prompt, what its aliases stand for, and its templates' SHA-256 (hex)."""

    messages: list[ChatMessage]
    aliases: Aliases
    digest: str


@dataclass(frozen=True, slots=True)
class PromptItem:
    """A memory as the prompt shows it; `event_time` is empty if it has none."""

    alias: str
    event_time: str
    content: str


@dataclass(frozen=True, slots=True)
class PromptView:
    """What a user message shows. `core_limit` is in o200k tokens."""

    core: str
    core_limit: int
    semantic: list[PromptItem]
    episodic: list[PromptItem]
    chunk: str
    chunk_time: str
    chunk_source: str


def render_prompt(view: GetWriterViewResponse, wire: WireFormat) -> Prompt:
    """The prompt for the view's next chunk.

    Args:
        view: With `next_chunk` set.
        wire: The format of the policy's calls; its instructions go into the system message.
    """
    named = list(zip(alias_names(), [*view.semantic, *view.episodic], strict=False))
    stats = view.bank.stats
    user = _template("writer_user.md").substitute(
        core_limit=core_limit(view.bank),
        core=escapes.block(view.core.content),
        semantic_shown=len(view.semantic),
        semantic_total=stats.semantic_count,
        semantic=_items(named[: len(view.semantic)]),
        episodic_shown=len(view.episodic),
        episodic_total=stats.episodic_count,
        episodic=_items(named[len(view.semantic) :]),
        attributes=_attributes(view.next_chunk),
        chunk=escapes.block(view.next_chunk.text),
    )
    messages = [
        ChatMessage(role=Role.ROLE_SYSTEM, content=_system(view.bank, wire)),
        ChatMessage(role=Role.ROLE_USER, content=user),
    ]
    aliases = {alias: (memory.type, memory.id) for alias, memory in named}
    return Prompt(messages, aliases, template_digest(wire))


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


def core_limit(bank: Bank) -> int:
    """Most o200k tokens of the bank's core memory."""
    settings = bank.settings
    return settings.core_token_limit if settings.HasField("core_token_limit") else DEFAULT_CORE_TOKENS


@lru_cache
def template_digest(wire: WireFormat) -> str:
    """SHA-256 (hex) of everything in a prompt that does not depend on the bank."""
    parts = [_template(name).template for name in ("writer_system.md", "writer_user.md")]
    digest = sha256()
    for part in (*parts, wire.name, wire.instructions()):
        digest.update(len(part).to_bytes(8, "big") + part.encode())
    return digest.hexdigest()


def alias_names() -> Iterator[str]:
    """a, b … z, aa, ab … without end."""
    for length in count(1):
        yield from map("".join, product(ascii_lowercase, repeat=length))


@lru_cache
def _template(name: str) -> Template:
    return Template((_FOLDER / name).read_text(encoding="utf-8").removesuffix("\n"))


def _system(bank: Bank, wire: WireFormat) -> str:
    disabled = [TYPE_NAMES[type] for type in bank.settings.disabled_types]
    note = f"- Do not write to {', '.join(disabled)}: it is switched off.\n" if disabled else ""
    return _template("writer_system.md").substitute(disabled=note, tools=wire.instructions())


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
