r"""The `lines` wire format: one short line per call, for tiny models.

    S+ Caroline has a dog            insert a semantic memory
    E+ 2023-05-08 Caroline moved     insert an episodic memory with its time
    S=a Caroline has two dogs        update semantic memory [a]; `E=c 2023-05-09 …` also changes the time
    C= Caroline, teacher             replace core memory
    S-a   E-c   C-                   delete

Newlines and backslashes in content are written `\n`, `\r` and `\\`. Content that begins like a time carries a
backslash in front, so any content survives. Of times the format can say an ISO 8601 date or date-time only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from memalpha.agent.tools import ParseError, ToolCall
from memalpha.agent.wire.base import answer_start, bounded

_LETTERS = {"core_memory": "C", "semantic_memory": "S", "episodic_memory": "E"}
_TYPES = {letter: name for name, letter in _LETTERS.items()}
_TIME = re.compile(r"(\d{4}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d)?)?)(?: |$)")
_INSERT = re.compile(r"([SEC])\+ ?(.*)", re.DOTALL)
_UPDATE = re.compile(r"(?:(C)= ?|([SE])=([A-Za-z0-9]{0,16}) )(.*)", re.DOTALL)
_DELETE = re.compile(r"(?:(C)-|([SE])-([A-Za-z0-9]{0,16}))[ \t]*")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES = {"n": "\n", "r": "\r"}
_IGNORED = re.compile(r"```\w*|")

_INSTRUCTIONS = r"""Write one line per change and nothing else:
S+ TEXT            add a semantic memory (a timeless fact)
E+ TIME TEXT       add an episodic memory (an event; TIME is an ISO 8601 date or date-time, if known)
S=ID TEXT          replace semantic memory [ID]
E=ID TIME TEXT     replace episodic memory [ID] (TIME left out: the old one stays)
C= TEXT            replace core memory
S-ID   E-ID   C-   remove a memory
TEXT stays on its line: a line break is written \n, a backslash \\. Write nothing if nothing has to change."""


class LinesFormat:
    """One call per line; see the module's docstring."""

    name = "lines"
    reads_lists = False
    has_tags = False

    def tools_json(self) -> str:
        """None: the tools stand in the system prompt."""
        return ""

    def instructions(self) -> str:
        """Explains the six kinds of lines."""
        return _INSTRUCTIONS

    def render(self, calls: Sequence[ToolCall]) -> str:
        """One line per call, each ended by a newline."""
        return "".join(f"{_rendered(call)}\n" for call in calls)

    def parse(self, text: str) -> list[ToolCall | ParseError]:
        """Every line but blank ones and code fences is a call or an error."""
        return bounded(_finds(text, answer_start(text)), text)


def _finds(text: str, position: int) -> Iterator[ToolCall | ParseError]:
    for raw in text[position:].split("\n"):
        line = raw.removesuffix("\r").lstrip(" \t")
        if not _IGNORED.fullmatch(line.rstrip()):
            start = position + len(raw) - len(raw.lstrip(" \t"))
            yield _call(line) or ParseError(line, _COMPLAINT, start, start + len(line))
        position += len(raw) + 1


_COMPLAINT = "not a line of the form `S+ text`, `E+ time text`, `S=id text`, `C= text`, `S-id` or `C-`"


def _rendered(call: ToolCall) -> str:
    arguments = {key: str(value) for key, value in call.arguments.items() if value is not None}
    head, memory_id = _LETTERS[arguments["memory_type"]], arguments.get("memory_id", "")
    event_time = arguments.get("event_time", "")
    if call.name == "new_memory_insert":
        return f"{head}+ {_text(arguments['content'], event_time)}"
    if call.name == "memory_update":
        return f"{head}={memory_id} {_text(arguments['new_content'], event_time)}"
    return f"{head}-{memory_id}"


def _text(content: str, event_time: str) -> str:
    escaped = content.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    if _TIME.match(escaped):
        escaped = f"\\{escaped}"
    return f"{event_time} {escaped}" if event_time else escaped


def _call(line: str) -> ToolCall | None:
    if match := _INSERT.fullmatch(line):
        return ToolCall("new_memory_insert", _target(match.group(1)) | _said(match.group(2), "content"), line)
    if match := _UPDATE.fullmatch(line):
        core, other, memory_id, rest = match.groups()
        return ToolCall("memory_update", _target(core or other, memory_id) | _said(rest, "new_content"), line)
    if match := _DELETE.fullmatch(line):
        core, other, memory_id = match.groups()
        return ToolCall("memory_delete", _target(core or other, memory_id), line)
    return None


def _target(letter: str, memory_id: str | None = None) -> dict[str, object]:
    target: dict[str, object] = {"memory_type": _TYPES[letter]}
    return target | {"memory_id": memory_id} if memory_id else target


def _said(rest: str, key: str) -> dict[str, object]:
    match = _TIME.match(rest)
    time, content = (match.group(1), rest[match.end() :]) if match else ("", rest)
    content = _ESCAPE.sub(lambda escape: _ESCAPES.get(escape.group(1), escape.group(1)), content)
    return {key: content, "event_time": time} if time else {key: content}
