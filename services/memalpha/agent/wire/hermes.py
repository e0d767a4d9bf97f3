"""The `hermes` wire format: JSON between `<tool_call>` tags, as Qwen3's and other chat templates have it.

Text around the tags is a model's reasoning and is skipped. What models get wrong and the meaning survives is
mended (`json_repair`): code fences, single quotes, trailing commas, unescaped quotes, `parameters` for
`arguments`, arguments as a JSON string, several calls between one pair of tags, a missing last tag. A call
that breaks off before its JSON ends is an error: half a fact would be stored as a whole one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence

import json_repair

from memalpha.agent.tools import ParseError, ToolCall, schemas
from memalpha.agent.wire.base import answer_start, bounded

_OPEN, _CLOSE = "<tool_call>", "</tool_call>"
_TAG = re.compile(r"</?tool_call>")
_LEAD = re.compile(r"\s*(```[A-Za-z_]*)?\s*")
_GAP = re.compile(r"[\s,;`\]}]*")  # between two calls, and what models close once too often
# json_repair takes time quadratic in the number of unescaped quotes; 16 KiB stays below a tenth of a second.
_LONGEST_REPAIR = 16_384
_DECODER = json.JSONDecoder(strict=False)

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

    def instructions(self) -> str:
        """The tools' schemas and the form of a call."""
        return _INSTRUCTIONS.format(tools="\n".join(json.dumps(schema) for schema in schemas()))

    def render(self, calls: Sequence[ToolCall]) -> str:
        """The calls, a newline after each; tags inside of content are escaped as JSON allows."""
        return "".join(f"{_OPEN}\n{_dumped(call)}\n{_CLOSE}\n" for call in calls)

    def parse(self, text: str) -> list[ToolCall | ParseError]:
        """The calls of all tags; without any tag, an answer that is nothing but JSON counts too."""
        start = answer_start(text)
        if _OPEN not in text[start:]:
            return _untagged(text, start)
        return bounded((found for span in _spans(text, start) for found in _calls(text, *span)), text)


def _dumped(call: ToolCall) -> str:
    dumped = json.dumps({"name": call.name, "arguments": call.arguments}, ensure_ascii=False)
    return _TAG.sub(lambda tag: "\\u003c" + tag.group()[1:], dumped)


def _untagged(text: str, start: int) -> list[ToolCall | ParseError]:
    body_start, body_end = _unfenced(text, start, len(text))
    try:
        value = _DECODER.decode(text[body_start:body_end])
    except (ValueError, RecursionError):
        return []
    found = list(_read(value, text, body_start, body_end))
    return found if any(isinstance(each, ToolCall) for each in found) else []


def _spans(text: str, start: int) -> Iterator[tuple[int, int, bool]]:
    """Start, end and "has its closing tag" of what stands between tags.

    Where whole JSON begins, its end decides, so that a tag inside of a string ends nothing.
    """
    position = text.find(_OPEN, start)
    while position >= 0:
        begin = position + len(_OPEN)
        tag = _TAG.search(text, _json_end(text, begin))
        end = tag.start() if tag else len(text)
        doubled = tag is not None and tag.group() == _OPEN and not text[begin:end].strip()
        if not doubled:
            yield begin, end, tag is not None and tag.group() == _CLOSE
        position = text.find(_OPEN, end)


def _json_end(text: str, begin: int) -> int:
    """Where the JSON values that follow each other from `begin` on end; `begin` if there is none."""
    start, end = _skipped(_LEAD, text, begin), begin
    while text.startswith(("[", "{"), start):
        try:
            _, end = _DECODER.raw_decode(text, start)
        except (ValueError, RecursionError):
            break
        start = _skipped(_GAP, text, end)
    return end


def _calls(text: str, begin: int, end: int, closed: bool) -> Iterator[ToolCall | ParseError]:
    start, end = _unfenced(text, begin, end)
    if start >= end:
        yield ParseError(text[start:end], "a call without content", start, end)
    while start < end:
        try:
            value, stop = _DECODER.raw_decode(text, start)
        except (ValueError, RecursionError):
            yield from _mended(text, start, end, closed)
            return
        yield from _read(value, text, start, min(stop, end))
        start = _skipped(_GAP, text, stop)


def _mended(text: str, start: int, end: int, closed: bool) -> Iterator[ToolCall | ParseError]:
    span = text[start:end]
    if span[0] not in "[{":
        yield ParseError(span, "a call must be a JSON object", start, end)
    elif not closed and span.rstrip()[-1] not in "]}":
        yield ParseError(span, "the text ends before the call's JSON does", start, end)
    elif len(span) > _LONGEST_REPAIR:
        yield ParseError(span, "the call is no valid JSON", start, end)
    else:
        yield from _read(_repaired(span), text, start, end)


def _repaired(span: str) -> object:
    try:
        return json_repair.loads(span, skip_json_loads=True)
    except (ValueError, RecursionError):
        return None


def _read(value: object, text: str, start: int, end: int) -> Iterator[ToolCall | ParseError]:
    """The calls that one JSON value stands for."""
    if isinstance(value, list) and value:
        for each in value:
            yield from _read_one(each, text, start, end)
    else:
        yield from _read_one(value, text, start, end)


def _read_one(value: object, text: str, start: int, end: int) -> Iterator[ToolCall | ParseError]:
    span = text[start:end]
    if isinstance(value, dict) and isinstance(value.get("function"), dict):
        value = value["function"]
    if not isinstance(value, dict):
        yield ParseError(span, "a call must be a JSON object", start, end)
        return
    name, arguments = value.get("name"), _arguments(value)
    if not isinstance(name, str) or not name:
        yield ParseError(span, "a call needs a `name`", start, end)
    elif arguments is None:
        yield ParseError(span, "a call needs `arguments`, a JSON object", start, end)
    else:
        yield ToolCall(name, arguments, span)


def _arguments(call: dict[str, object]) -> dict[str, object] | None:
    value = call.get("arguments", call.get("parameters"))
    if isinstance(value, str) and len(value) <= _LONGEST_REPAIR:
        value = _repaired(value)
    return value if isinstance(value, dict) else None


def _unfenced(text: str, start: int, end: int) -> tuple[int, int]:
    """The span without the blanks and the code fence around it."""
    begin = min(_skipped(_LEAD, text, start), end)
    body = text[begin:end].rstrip()
    if "```" in text[start:begin]:
        body = body.removesuffix("```").rstrip()
    return begin, begin + len(body)


def _skipped(pattern: re.Pattern[str], text: str, start: int) -> int:
    match = pattern.match(text, start)
    return match.end() if match else start
