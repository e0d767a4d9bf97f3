"""The `qwen_agent` wire format: marked lines, as in the Qwen-Agent library and from the paper's models.

    ✿FUNCTION✿: new_memory_insert
    ✿ARGS✿: {"memory_type": "semantic_memory", "content": "Caroline has a dog"}

Calls follow one another. What comes after `✿RESULT✿` or `✿RETURN✿` would be said by the tools, not by the
policy, and is not read. A marker inside of a JSON string ends nothing; what is written here has it escaped,
so that stricter readers find the same calls.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from functools import cache

from memalpha.agent.tools import TOOLS, ParseError, ToolCall, function_schema
from memalpha.agent.wire import jsons
from memalpha.agent.wire.base import answer_start, bounded

_MARK = re.compile(r"✿(FUNCTION|ARGS|RESULT|RETURN)✿[ \t]*[:：]?")
_ENDS = ("RESULT", "RETURN")

_TOOL = "### {name}\n\n{name}: {description} Parameters: {parameters} Format the arguments as a JSON object."
_INSTRUCTIONS = """# Tools

## You have access to the following tools:

{tools}

## Write these two lines for each call, as many calls as you need, all in one reply:

✿FUNCTION✿: The name of the tool, one of [{names}]
✿ARGS✿: Its arguments

Write no call if nothing has to change."""


class QwenAgentFormat:
    """Calls as pairs of `✿FUNCTION✿:` and `✿ARGS✿:`; see the module's docstring."""

    name = "qwen_agent"
    reads_lists = False
    has_tags = False

    def tools_json(self) -> str:
        """None: the tools stand in the system prompt."""
        return ""

    def instructions(self) -> str:
        """The tools, laid out as that library does, and the form of a call."""
        return _instructions()

    def render(self, calls: Sequence[ToolCall]) -> str:
        """Two lines for each call."""
        return "".join(f"✿FUNCTION✿: {call.name}\n✿ARGS✿: {_dumped(call)}\n" for call in calls)

    def parse(self, text: str) -> list[ToolCall | ParseError]:
        """The calls up to the first result; text before the first marker is a model's reasoning."""
        return bounded(_finds(text, answer_start(text)), text)


@cache
def _instructions() -> str:
    """Made once: every prompt has it."""
    return _INSTRUCTIONS.format(tools="\n\n".join(map(_described, TOOLS)), names=",".join(TOOLS))


def _described(name: str) -> str:
    schema = function_schema(name)
    parameters = json.dumps(schema["parameters"], ensure_ascii=False)
    return _TOOL.format(name=name, description=schema["description"], parameters=parameters)


def _dumped(call: ToolCall) -> str:
    return json.dumps(call.arguments, ensure_ascii=False).replace("✿", "\\u273f")


def _finds(text: str, start: int) -> Iterator[ToolCall | ParseError]:
    name, begin = "", start
    mark = _MARK.search(text, start)
    while mark is not None and mark.group(1) not in _ENDS:
        function = mark.group(1) == "FUNCTION"
        following = _MARK.search(text, mark.end() if function else jsons.ended(text, mark.end()))
        end = following.start() if following else len(text)
        if not function:
            yield _call(name, text, begin, (mark.end(), end), closed=following is not None)
            begin = end
        elif following is None or following.group(1) != "ARGS":
            yield ParseError(
                text[mark.start() : end], "a call needs ✿ARGS✿ after its name", mark.start(), end
            )
        else:
            name, begin = text[mark.end() : end].strip(), mark.start()
        mark = following


def _call(name: str, text: str, begin: int, span: tuple[int, int], *, closed: bool) -> ToolCall | ParseError:
    """The call whose arguments are the first JSON value of the span."""

    def read(value: object, text: str, start: int, end: int) -> jsons.Found:
        given = jsons.arguments(value)
        if given is None:
            yield ParseError(text[start:end], "arguments must be a JSON object", start, end)
        else:
            yield ToolCall(name, given, text[begin:end])

    start, end = jsons.unfenced(text, *span)
    if not name:
        return ParseError(text[start:end], "a call needs ✿FUNCTION✿ and a name before its ✿ARGS✿", start, end)
    nothing = ParseError(text[start:end], "a call without arguments", start, end)
    return next(jsons.values(text, start, end, closed, read), nothing)
