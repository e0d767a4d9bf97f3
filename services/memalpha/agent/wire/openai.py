r"""The `openai` wire format: an endpoint's native tool calls, as the JSON array that its API has them in.

    [{"type": "function", "function": {"name": "memory_delete", "arguments": "{\"memory_type\": …}"}}]

The tools are handed to the engine beside the messages, which then hold only a sentence about them; an engine
writes down what the model called. A model that writes the array itself is understood as well, with prose
before it, in a code fence, or cut off: whole calls are read, the broken one is an error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from functools import cache

from memalpha.agent.tools import ParseError, ToolCall, schemas
from memalpha.agent.wire import jsons
from memalpha.agent.wire.base import answer_start, bounded

_BEGIN = re.compile(r"""\[\s*(?=[{\]])|(?=\{\s*["'])""")

_INSTRUCTIONS = """Change the memory with the tools that you are given: make all calls in this one reply.
Call no tool if nothing has to change."""


class OpenAIFormat:
    """Calls as an array of `{"type": "function", "function": {"name": …, "arguments": "…"}}`."""

    name = "openai"
    reads_lists = True
    has_tags = False

    def tools_json(self) -> str:
        """The tools in the function format, for the engine to hand over."""
        return _tools()

    def instructions(self) -> str:
        """Says that there are tools; which, the model learns from its engine."""
        return _INSTRUCTIONS

    def render(self, calls: Sequence[ToolCall]) -> str:
        """The array, one call a line."""
        return "[" + ",\n ".join(map(_dumped, calls)) + "]\n"

    def parse(self, text: str) -> list[ToolCall | ParseError]:
        """The array's calls; text without an array or an object holds none."""
        return bounded(_finds(text, answer_start(text)), text)


@cache
def _tools() -> str:
    """Made once: every prompt has it."""
    return json.dumps(schemas(), ensure_ascii=False)


def _dumped(call: ToolCall) -> str:
    function = {"name": call.name, "arguments": json.dumps(call.arguments, ensure_ascii=False)}
    return json.dumps({"type": "function", "function": function}, ensure_ascii=False)


def _finds(text: str, start: int) -> Iterator[ToolCall | ParseError]:
    for found in _BEGIN.finditer(text, start):
        # An empty array may be prose: "the list was [] before".
        if not text.startswith("]", found.end()):
            yield from jsons.values(text, found.end(), _end(text, found.start()), False, _read)
            return


def _end(text: str, start: int) -> int:
    """Where the JSON ends and prose begins; the text's end if the JSON breaks off."""
    end = jsons.ended(text, start)
    goes_on = text.startswith(("[", "{"), jsons.skipped(jsons.GAP, text, end))
    return len(text.rstrip()) if end == start or goes_on else end


def _read(value: object, text: str, start: int, end: int) -> jsons.Found:
    """One element; a whole message holds its calls under `tool_calls`."""
    if isinstance(value, dict) and isinstance(value.get("tool_calls"), list):
        value = value["tool_calls"]
    return jsons.read_call(value, text, start, end)
