"""Calls written as JSON objects, for every wire format that has them.

What models get wrong and the meaning survives is mended (`json_repair`): single quotes, trailing commas,
unescaped quotes, `parameters` for `arguments`, arguments as a JSON string. A call that breaks off before its
JSON ends is an error: half a fact would be stored as a whole one. Nothing here raises, and the work grows
with the text's length only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator

import json_repair

from memalpha.agent.tools import ParseError, ToolCall

LEAD = re.compile(r"\s*(```[A-Za-z_]*)?\s*")
"""Blanks and the opening of a code fence."""
GAP = re.compile(r"[\s,;`\]}]*")
"""What stands between two calls, and what models close once too often."""

_ESCAPED = re.compile(r"\\.", re.DOTALL)
_QUOTE = re.compile(r"[\"']")
# In strings between apostrophes models leave others unescaped: then only what stands before the end tells.
_APOSTROPHE_ENDS = re.compile(r"(?<![\\:,\[{\s])'[\s\]}]*[\]}]\s*\Z")
# json_repair takes time quadratic in unescaped quotes and in openers; so many stay below a tenth of a second.
_LONGEST_REPAIR = 16_384
_MOST_OPENERS = 32
# Values within values. A decoder reads hundreds; what then handles the value would run out of stack.
_DEEPEST = 32
# Tried first: json_repair takes some escapes for text.
_FORGOTTEN = ("}", "}}", "]", "}]")
_DECODER = json.JSONDecoder(strict=False)

Found = Iterator[ToolCall | ParseError]
Reader = Callable[[object, str, int, int], Found]


def decoded(text: str, start: int) -> tuple[object, int] | None:
    """The JSON value that begins at `start`, and where it ends; None if there is none, or it is too deep."""
    try:
        value, end = _DECODER.raw_decode(text, start)
    except (ValueError, RecursionError):
        return None
    # Counted first, which is quick: every level has an opener of its own.
    openers = text.count("{", start, end) + text.count("[", start, end)
    return None if openers >= _DEEPEST and too_deep(value) else (value, end)


def too_deep(value: object) -> bool:
    """Whether a decoded value holds others in others so often that it is not handled any further."""
    level = [value]
    for _ in range(_DEEPEST):
        level = [inner for outer in level for inner in _inner(outer)]
        if not level:
            return False
    return True


def ended(text: str, begin: int) -> int:
    """Where the JSON values that follow each other from `begin` on end; `begin` if there is none."""
    start, end = skipped(LEAD, text, begin), begin
    while text.startswith(("[", "{"), start) and (value := decoded(text, start)):
        end = value[1]
        start = skipped(GAP, text, end)
    return end


def values(text: str, start: int, end: int, closed: bool, read: Reader) -> Found:
    """What `read` makes of the JSON values within a span, one after another.

    Args:
        text: All that the policy wrote.
        start: Where the span begins.
        end: Where it ends.
        closed: Whether something ends the span other than the text.
        read: Makes calls and errors of one value and its span.
    """
    while start < end:
        value = decoded(text, start)
        if value is None:
            yield from _mended(text, start, end, closed, read)
            return
        yield from read(value[0], text, start, min(value[1], end))
        start = skipped(GAP, text, value[1])


def read_call(value: object, text: str, start: int, end: int) -> Found:
    """The call that an object with `name` and `arguments`, or a list of such objects, stands for."""
    for each in value if isinstance(value, list) and value else [value]:
        yield _one_call(each, text, start, end)


def arguments(value: object) -> dict[str, object] | None:
    """A call's arguments, given as an object or as its JSON; None if they are neither."""
    if isinstance(value, str):
        whole = decoded(value, skipped(LEAD, value, 0))
        value = whole[0] if whole else _repaired(value) if _is_mendable(value) else None
    return value if isinstance(value, dict) else None


def unfenced(text: str, start: int, end: int) -> tuple[int, int]:
    """The span without the blanks and the code fence around it."""
    begin = min(skipped(LEAD, text, start), end)
    body = text[begin:end].rstrip()
    if "```" in text[start:begin]:
        body = body.removesuffix("```").rstrip()
    return begin, begin + len(body)


def skipped(pattern: re.Pattern[str], text: str, start: int) -> int:
    """Where the pattern, if it stands at `start`, ends."""
    match = pattern.match(text, start)
    return match.end() if match else start


def _inner(value: object) -> Iterable[object]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def _mended(text: str, start: int, end: int, closed: bool, read: Reader) -> Found:
    span = text[start:end]
    if span[0] not in "[{":
        yield ParseError(span, "a call must be a JSON object", start, end)
    elif not closed and _breaks_off(span):
        yield ParseError(span, "the text ends before the call's JSON does", start, end)
    elif not _is_mendable(span):
        yield ParseError(span, "the call is no valid JSON", start, end)
    else:
        yield from read(_repaired(span), text, start, end)


def _breaks_off(span: str) -> bool:
    """Whether a span that is no JSON ends within a value: with no closer, or with one inside of a string."""
    quotes = _QUOTE.findall(_ESCAPED.sub("", span))
    quote = quotes[0] if quotes else ""
    inside = quotes.count(quote) % 2 == 1 and not (quote == "'" and _APOSTROPHE_ENDS.search(span))
    return inside or span.rstrip()[-1] not in "]}"


def _is_mendable(span: str) -> bool:
    return len(span) <= _LONGEST_REPAIR and span.count("{") + span.count("[") <= _MOST_OPENERS


def _repaired(span: str) -> object:
    for closers in _FORGOTTEN:
        if whole := decoded(span + closers, 0):
            return whole[0]
    try:
        return json_repair.loads(span, skip_json_loads=True)
    except Exception:  # noqa: BLE001 - garbage runs into its assertions as well
        return None


def _one_call(value: object, text: str, start: int, end: int) -> ToolCall | ParseError:
    span = text[start:end]
    if isinstance(value, dict) and isinstance(value.get("function"), dict):
        value = value["function"]
    if not isinstance(value, dict):
        return ParseError(span, "a call must be a JSON object", start, end)
    name, given = value.get("name"), arguments(value.get("arguments", value.get("parameters")))
    if not isinstance(name, str) or not name:
        return ParseError(span, "a call needs a `name`", start, end)
    if given is None:
        return ParseError(span, "a call needs `arguments`, a JSON object", start, end)
    return ToolCall(name, given, span)
