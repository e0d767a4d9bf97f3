"""What every wire format offers, and what they share in reading a model's text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Protocol

from memalpha.agent.tools import ParseError, ToolCall

# A batch of operations holds at most 1000; whoever writes more than that is not listing changes any more.
MOST_CALLS = 1000

_THINK, _END_THINK = "<think>", "</think>"


class WireFormat(Protocol):
    """One way to write tool calls as text. Stateless; one instance serves all banks at once."""

    name: str
    # Whether `parse` reads calls from a text that is a JSON array of objects with `name` and `arguments`.
    reads_lists: bool
    # Whether `parse` takes a tag for a call's that stands within the text of another call.
    has_tags: bool

    def instructions(self) -> str:
        """How to call the tools, for the system prompt. Always the same text, as the digest covers it."""
        ...

    def tools_json(self) -> str:
        """The tools as a JSON array, if the engine hands them over beside the messages; else empty."""
        ...

    def render(self, calls: Sequence[ToolCall]) -> str:
        """The calls as a policy would write them. `parse` gives the same names and arguments back."""
        ...

    def parse(self, text: str) -> list[ToolCall | ParseError]:
        """What a policy wrote, in order. Never raises; says of what is no call where it is and why.

        Reading may stop after `MOST_CALLS` finds; a last `ParseError` then covers the rest.
        """
        ...


def bounded(found: Iterable[ToolCall | ParseError], text: str) -> list[ToolCall | ParseError]:
    """The first `MOST_CALLS` finds; if there are more, the last of them is an error that says so."""
    kept = list(islice(found, MOST_CALLS + 1))
    if len(kept) > MOST_CALLS:
        message = f"more than {MOST_CALLS - 1} calls; the rest was not read"
        kept[MOST_CALLS - 1 :] = [ParseError("", message, len(text), len(text))]
    return kept


def answer_start(text: str) -> int:
    """Where a model's answer begins: after a leading thought. An unfinished thought holds no answer."""
    lead = len(text) - len(text.lstrip())
    if not text.startswith(_THINK, lead):
        return 0
    end = text.find(_END_THINK, lead)
    return len(text) if end < 0 else end + len(_END_THINK)
