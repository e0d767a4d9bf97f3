"""A rollout's memory, chunk by chunk: operations replayed, so that each shows what it found and what it left.

Records hold what an operation wrote; what stood there before is the last thing that was written there.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from memalpha_trainer.records import ChunkSample, Operation
from memalpha_trainer.view.html import Html, join, tag


@dataclass(frozen=True, slots=True)
class Change:
    """What one operation did.

    Attributes:
        operation: As it is on record.
        before: Content of the memory until then; empty if there was none.
        after: Content since; empty if it is gone. Both are empty of an operation that did nothing.
        time_before: The event time until then.
    """

    operation: Operation
    before: str = ""
    after: str = ""
    time_before: str = ""


def changes(samples: Sequence[ChunkSample]) -> list[list[Change]]:
    """The changes that each sample made, in order."""
    stored: dict[int, tuple[str, str]] = {}
    return [[_changed(stored, each) for each in sample.operations] for sample in samples]


def _changed(stored: dict[int, tuple[str, str]], operation: Operation) -> Change:
    """Replays one operation; what is stored becomes what is stored after it."""
    if not operation.applied or operation.memory_id is None:
        return Change(operation)
    before, time = stored.get(operation.memory_id, ("", ""))
    if operation.kind == "delete":
        stored.pop(operation.memory_id, None)
        return Change(operation, before or operation.content, "", time or operation.event_time)
    stored[operation.memory_id] = operation.content, operation.event_time
    return Change(operation, before, operation.content, time)


def difference(before: str, after: str) -> tuple[Html, Html]:
    """Both texts, with the words marked that went and that came."""
    old, new = _words(before), _words(after)
    blocks = difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    gone = (_marked("del", old[a:b], same=name == "equal") for name, a, b, _, _ in blocks)
    come = (_marked("ins", new[c:d], same=name == "equal") for name, _, _, c, d in blocks)
    return join(gone), join(come)


def _words(text: str) -> list[str]:
    """Words with the space after them; joined they are the text."""
    return list(_split(text))


def _split(text: str) -> Iterator[str]:
    start = 0
    for at in range(1, len(text)):
        if text[at - 1].isspace() and not text[at].isspace():
            yield text[start:at]
            start = at
    if text:
        yield text[start:]


def _marked(name: str, words: list[str], *, same: bool) -> str:
    joined = "".join(words)
    return joined if same or not joined else tag(name, joined)
