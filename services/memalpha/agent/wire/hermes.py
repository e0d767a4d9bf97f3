"""The `hermes` wire format: JSON between `<tool_call>` tags, as Qwen3's and other chat templates have it.

Text around the tags is a model's reasoning and is skipped. Deviations whose meaning survives are mended
(`jsons`), and code fences, several calls between one pair of tags and a missing last tag are understood. So
is a list of calls without tags, as it is written under a grammar, even if it breaks off.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from functools import cache

from memalpha.agent.tools import ParseError, ToolCall, schemas
from memalpha.agent.wire import jsons
from memalpha.agent.wire.base import answer_start, bounded

_OPEN, _CLOSE = "<tool_call>", "</tool_call>"
_TAG = re.compile(r"</?tool_call>")
_LIST = re.compile(r"\[\s*(?=\{)")

_INSTRUCTIONS = """You can call these tools:
<tools>
{tools}
</tools>
Write each call as one JSON object between tags, one call after another:
<tool_call>
{{"name": "new_memory_insert", "arguments": {{"memory_type": "semantic_memory", "content": "…"}}}}
</tool_call>
Write no call if nothing has to change."""


class HermesFormat:
    """Calls as `<tool_call>{"name": …, "arguments": {…}}</tool_call>`."""

    name = "hermes"
    reads_lists = True
    has_tags = True

    def tools_json(self) -> str:
        """None: the tools stand in the system prompt."""
        return ""

    def instructions(self) -> str:
        """The tools' schemas and the form of a call."""
        return _instructions()

    def render(self, calls: Sequence[ToolCall]) -> str:
        """The calls, a newline after each; tags inside of content are escaped as JSON allows."""
        return "".join(f"{_OPEN}\n{_dumped(call)}\n{_CLOSE}\n" for call in calls)

    def parse(self, text: str) -> list[ToolCall | ParseError]:
        """The calls of all tags; without any tag, an answer that is JSON from its beginning counts too."""
        start = answer_start(text)
        if _OPEN not in text[start:]:
            return _untagged(text, start)
        return bounded((found for span in _spans(text, start) for found in _calls(text, *span)), text)


@cache
def _instructions() -> str:
    """Made once: every prompt has it."""
    return _INSTRUCTIONS.format(tools="\n".join(json.dumps(schema) for schema in schemas()))


def _dumped(call: ToolCall) -> str:
    dumped = json.dumps({"name": call.name, "arguments": call.arguments}, ensure_ascii=False)
    return _TAG.sub(lambda tag: "\\u003c" + tag.group()[1:], dumped)


def _untagged(text: str, start: int) -> list[ToolCall | ParseError]:
    body_start, body_end = jsons.unfenced(text, start, len(text))
    value = jsons.decoded(text, body_start)
    opened = _LIST.match(text, body_start)
    if value is None and opened:
        return bounded(jsons.values(text, opened.end(), body_end, False, jsons.read_call), text)
    if value is None or value[1] != body_end:
        return []
    found = list(jsons.read_call(value[0], text, body_start, body_end))
    return found if any(isinstance(each, ToolCall) for each in found) else []


def _spans(text: str, start: int) -> Iterator[tuple[int, int, bool]]:
    """Start, end and "has its closing tag" of what stands between tags.

    Where whole JSON begins, its end decides, so that a tag inside of a string ends nothing.
    """
    position = text.find(_OPEN, start)
    while position >= 0:
        begin = position + len(_OPEN)
        tag = _TAG.search(text, jsons.ended(text, begin))
        end = tag.start() if tag else len(text)
        doubled = tag is not None and tag.group() == _OPEN and not text[begin:end].strip()
        if not doubled:
            yield begin, end, tag is not None and tag.group() == _CLOSE
        position = text.find(_OPEN, end)


def _calls(text: str, begin: int, end: int, closed: bool) -> Iterator[ToolCall | ParseError]:
    start, end = jsons.unfenced(text, begin, end)
    if start >= end:
        yield ParseError(text[start:end], "a call without content", start, end)
    yield from jsons.values(text, start, end, closed, jsons.read_call)
