"""How the command line looks: a console for results, one for progress, and text that cannot harm a terminal.

Results go to standard output, everything else to standard error. Colour goes when the output is no terminal
or NO_COLOR is set. What a memory or a file says is printed as it is, never as markup, and its control
characters are made visible.
"""

import difflib
import re
from dataclasses import dataclass, field
from enum import StrEnum

from rich.console import Console
from rich.text import Text

from memalpha.api.memory.v1alpha1 import memory_pb2 as pb
from memalpha.cli.documents import enum_name

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_WORDS = re.compile(r"\w{3,}")
_SENTENCE_ENDS = re.compile(r"(?<=[.!?])\s+")
_COLOURS = {
    pb.MEMORY_TYPE_CORE: "magenta",
    pb.MEMORY_TYPE_SEMANTIC: "cyan",
    pb.MEMORY_TYPE_EPISODIC: "yellow",
}
_ID_CHARACTERS = 12


def _console(*, stderr: bool) -> Console:
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False, soft_wrap=True)


@dataclass(frozen=True, slots=True)
class Screen:
    """The two consoles of a command."""

    out: Console = field(default_factory=lambda: _console(stderr=False))
    err: Console = field(default_factory=lambda: _console(stderr=True))


def visible(text: str) -> str:
    """Replaces control characters, line ends and tabs excepted, by their escapes."""
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def one_line(text: str, width: int = 160) -> str:
    """Puts text on one line of at most `width` characters."""
    line = " ".join(visible(text).split())
    return line if len(line) <= width else f"{line[: width - 1].rstrip()}…"


def indented(text: str, by: int) -> str:
    """Indents every line."""
    return "\n".join(f"{'':{by}}{line}" for line in visible(text).split("\n"))


class TypeName(StrEnum):
    """A memory type as people write it."""

    CORE = "core"
    SEMANTIC = "semantic"
    EPISODIC = "episodic"

    @property
    def number(self) -> pb.MemoryType.ValueType:
        """The API's value."""
        return pb.MemoryType.Value(f"MEMORY_TYPE_{self.name}")


def type_name(type_: pb.MemoryType.ValueType) -> str:
    """Names a memory type: `core`, `semantic` or `episodic`."""
    return enum_name(pb.MemoryType.DESCRIPTOR, type_)


def label(memory: pb.Memory) -> Text:
    """Names a memory by type and number, if it has one, in the type's colour."""
    number = f" #{memory.id}" if memory.id else ""
    return Text(type_name(memory.type) + number, style=_COLOURS.get(memory.type, ""))


def date(event_time: str) -> str:
    """The day of a time, if one is known."""
    return event_time[:10]


def short_id(chunk_id: str) -> str:
    """An id's beginning."""
    return visible(chunk_id if len(chunk_id) <= _ID_CHARACTERS else f"{chunk_id[:_ID_CHARACTERS]}…")


def plural(count: int, noun: str, many: str = "") -> str:
    """Writes a count with its noun."""
    return f"{count:,} {noun if count == 1 else many or noun + 's'}"


def excerpt(chunk_text: str, about: str, width: int = 120) -> str:
    """Quotes from a chunk the line that shares the most words with what it is about; the first one at a tie.

    A line longer than `width` is shown from its best sentence on.
    """
    wanted = set(_WORDS.findall(about.lower()))
    lines = [one_line(line, len(chunk_text)) for line in chunk_text.split("\n") if line.strip()]
    line = _best(lines or [""], wanted)
    if len(line) <= width:
        return line
    sentence = _best(_SENTENCE_ENDS.split(line), wanted)
    start = line.index(sentence)
    return one_line(f"… {line[start:]}" if start else line, width)


def _best(texts: list[str], wanted: set[str]) -> str:
    return max(texts, key=lambda text: len(wanted & set(_WORDS.findall(text.lower()))))


def difference(before: str, after: str) -> tuple[Text, Text]:
    """Marks the words that went in one text and the words that came in the other."""
    old, new = visible(before).split(" "), visible(after).split(" ")
    gone, come = Text(style="red"), Text(style="green")
    for tag, old_from, old_to, new_from, new_to in difflib.SequenceMatcher(
        None, old, new, False
    ).get_opcodes():
        emphasis = "" if tag == "equal" else "bold underline"
        gone.append(_spaced(old, old_from, old_to), emphasis)
        come.append(_spaced(new, new_from, new_to), emphasis)
    return gone, come


def _spaced(words: list[str], start: int, end: int) -> str:
    joined = " ".join(words[start:end])
    return f" {joined}" if start and joined else joined
