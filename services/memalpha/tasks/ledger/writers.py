"""The ledger's scripted writers: the oracle, a teacher that errs, ablations, and three ways to cheat.

All of them see the prompt alone. The oracle reads the chunk with the published grammar and does what each
clause asks for, on the memories it is shown: one memory for each value with the one before it, for each pass
and each event. What it cannot see it cannot change; that is the view's doing, and measured.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass

from memalpha.agent.prompts import PromptItem, PromptView
from memalpha.agent.tools import ToolCall
from memalpha.tasks.ledger import grammar
from memalpha.tasks.ledger.grammar import Clause, Key
from memalpha.tasks.ledger.wording import WITH_FORMER, Act
from memalpha.tasks.ledger.words import VALUES
from memalpha.tasks.writers import Writer, delete, insert, update

_TAKES_BACK = (Act.RETRACT, Act.CANCEL)
_NEW = ""
"""Alias of what this very chunk stored: it cannot be named again."""


@dataclass(frozen=True, slots=True)
class Rates:
    """How often a teacher is wrong.

    Attributes:
        rumour: Stores a rumour as a fact.
        revoke: Leaves what was revoked, retracted or cancelled as it was.
        change: Adds the new value or day and leaves the old one.
        other: Overlooks a clause of any other kind.
    """

    rumour: float = 0.0
    revoke: float = 0.0
    change: float = 0.0
    other: float = 0.0

    def greedy(self) -> Rates:
        """What always taking the likelier of right and wrong comes to."""
        return Rates(*(float(rate > 0.5) for rate in (self.rumour, self.revoke, self.change, self.other)))


RIGHT = Rates()
TEACHER = Rates(rumour=0.7, revoke=0.7, change=0.7, other=0.05)
"""Wrong in most rumours, revocations and changes, so that taking the likelier choice teaches nothing."""
GOOD_TEACHER = Rates(0.1, 0.1, 0.1, 0.1)


@dataclass(frozen=True, slots=True)
class Teacher:
    """Writes the ledger, wrong as often as its rates say; with `RIGHT` it is the oracle.

    The same prompt and seed give the same calls.
    """

    rates: Rates = RIGHT
    seed: int = 0

    def calls(self, view: PromptView) -> list[ToolCall]:
        """What the chunk's clauses ask for, or what an error makes of it."""
        rng = random.Random(f"{self.seed} {view.chunk_time} {view.chunk}")
        memory = _Shown(view)
        return [call for clause in grammar.strict(view.chunk) for call in self._act(clause, memory, rng)]

    def _act(self, clause: Clause, memory: _Shown, rng: random.Random) -> list[ToolCall]:
        wrong, luck = self.rates, rng.random()
        if clause.hedged:
            return memory.add(clause) if luck < wrong.rumour else []
        if clause.act is Act.REVOKE or clause.act in _TAKES_BACK:
            return [] if luck < wrong.revoke else memory.take_back(clause)
        if memory.has_other(clause):
            return memory.add(clause) if luck < wrong.change else memory.change(clause)
        return [] if luck < wrong.other or memory.has(clause) else memory.add(clause)


class _Shown:
    """The memories in view by what they are about; keeps up with the calls it gives out."""

    def __init__(self, view: PromptView) -> None:
        self._present: dict[Key, tuple[str, str]] = {}
        for item in [*view.semantic, *view.episodic]:
            for clause in grammar.loose(item.content):
                self._present[clause.key] = (item.alias, _value(clause, item))

    def has(self, clause: Clause) -> bool:
        """Whether the clause's value is stored."""
        return self._present.get(clause.key, (_NEW, None))[1] == _stated(clause)

    def has_other(self, clause: Clause) -> bool:
        """Whether a memory that can be named holds another value of its key."""
        alias, _ = self._present.get(clause.key, (_NEW, ""))
        return alias != _NEW and not self.has(clause)

    def add(self, clause: Clause) -> list[ToolCall]:
        """Stores what the clause states."""
        self._present.setdefault(clause.key, (_NEW, _stated(clause)))
        return [insert(*_memory(clause))]

    def change(self, clause: Clause) -> list[ToolCall]:
        """Replaces the value of the clause's key; of a value, not of a day, the old one is kept beside."""
        alias, old = self._present[clause.key]
        self._present[clause.key] = (alias, _stated(clause))
        name, word = clause.key
        if word in VALUES:
            return [update(alias, WITH_FORMER.format(n=name, a=word, v=clause.values[0], w=old))]
        return [update(alias, *_memory(clause))]

    def take_back(self, clause: Clause) -> list[ToolCall]:
        """Deletes what is not true any more; a revoked pass stays known as revoked."""
        alias, _ = self._present.get(clause.key, (_NEW, ""))
        if clause.act is Act.REVOKE:
            content, _ = _memory(clause)
            return [update(alias, content) if alias else insert(content)]
        return [delete(alias, episodic=clause.act is Act.CANCEL)] if alias else []


def _stated(clause: Clause) -> str:
    return clause.values[0] if clause.values else clause.act.value


def _value(clause: Clause, item: PromptItem) -> str:
    """What a memory holds of its key; of an event without a day in its text, its time."""
    return item.event_time if clause.act is Act.EVENT and not clause.values else _stated(clause)


def _memory(clause: Clause) -> tuple[str, str]:
    """The memory that a clause becomes: text and time."""
    name, word = clause.key
    match clause.act:
        case Act.EVENT | Act.MOVE:
            return f"{name}'s {word}", clause.values[0]
        case Act.VALID:
            return f"{name}'s {word} is valid", ""
        case Act.REVOKE:
            return f"{name}'s {word} is revoked", ""
        case _:
            return f"{name}'s {word} is {clause.values[0]}", ""


@dataclass(frozen=True, slots=True)
class WithoutUpdates:
    """What a writer does, but for updates: it adds instead."""

    writer: Writer

    def calls(self, view: PromptView) -> list[ToolCall]:
        """The writer's calls, every update an insert."""
        return [_as_insert(call) for call in self.writer.calls(view)]


@dataclass(frozen=True, slots=True)
class WithoutDeletes:
    """What a writer does, but for deletions."""

    writer: Writer

    def calls(self, view: PromptView) -> list[ToolCall]:
        """The writer's calls without the deletions."""
        return [call for call in self.writer.calls(view) if call.name != "memory_delete"]


def _as_insert(call: ToolCall) -> ToolCall:
    if call.name != "memory_update":
        return call
    return insert(str(call.arguments["new_content"]), str(call.arguments.get("event_time", "")))


@dataclass(frozen=True, slots=True)
class AllValues:
    """A cheat: one memory for each key, with every value that the attribute could have."""

    def calls(self, view: PromptView) -> list[ToolCall]:
        """A list of values for each key that has any."""
        keys = _keys(grammar.loose(view.chunk))
        return [insert(f"{name}'s {word} is {', '.join(VALUES[word])}") for name, word in keys]


@dataclass(frozen=True, slots=True)
class CoreTable:
    """A cheat: all of it as a table in core memory, which every reader sees; the newest first."""

    def calls(self, view: PromptView) -> list[ToolCall]:
        """One update of core memory."""
        told = [_row(clause) for clause in grammar.loose(view.chunk) if clause.act not in _TAKES_BACK]
        content = " ".join([*told, view.core]).strip()
        return [ToolCall("memory_update", {"memory_type": "core_memory", "new_content": content})]


def _row(clause: Clause) -> str:
    content, day = _memory(clause)
    return f"{content} is on {day}." if day else f"{content}."


def _keys(clauses: Iterable[Clause]) -> list[Key]:
    return list(dict.fromkeys(clause.key for clause in clauses if clause.key[1] in VALUES))
