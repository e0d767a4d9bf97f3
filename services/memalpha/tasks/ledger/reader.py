"""Two deterministic readers: what a question's answer is, given a context and nothing else.

A reader gets exactly the text that a language model would get: core memory and a few memories under aliases.
It has no bank, no truth and no list of keys; all it knows is the published grammar. What it finds about a key
has to agree: two values in one memory, two values at one stated date, or two of which one has no date, is an
answer that is never right. `literal` sees no hedges, so that a stored rumour is a fact to it; it gives the
reward. `grammar` also understands hedges, and only takes sentences that it understands as a whole: the upper
bound of what a good reader could make of the same memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from memalpha.tasks.ledger import grammar
from memalpha.tasks.ledger.context import Line, read_context
from memalpha.tasks.ledger.grammar import Clause, Key
from memalpha.tasks.ledger.questions import NOT_KNOWN, Aspect, understood
from memalpha.tasks.ledger.truth import REVOKED, VALID
from memalpha.tasks.ledger.wording import Act

CONFLICT = "conflict"
"""The answer where memories disagree."""

_NOTHING = ""
_STATUS = {REVOKED: "yes", VALID: "no"}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a reader says, and the aliases of the memories that it relies on ("" stands for core memory)."""

    text: str
    used: tuple[str, ...] = ()


class Reader(Protocol):
    """Answers questions from a context. Pure."""

    @property
    def name(self) -> str:
        """What its row is called."""
        ...

    def answer(self, question: str, context: str) -> Answer:
        """The answer to one question; a question that is not understood is answered with `NOT_KNOWN`."""
        ...


@dataclass(frozen=True, slots=True)
class LedgerReader:
    """A reader over one way of reading sentences."""

    name: str
    clauses: Callable[[str], Sequence[Clause]]

    def answer(self, question: str, context: str) -> Answer:
        """See `Reader.answer`."""
        asked, lines = understood(question), read_context(context)
        if asked is None:
            return Answer(NOT_KNOWN)
        aspect, key = asked
        if aspect is Aspect.FORMER:
            return self._former(key, lines)
        found = self._present(key, lines)
        return Answer(_STATUS.get(found.text, found.text), found.used) if aspect is Aspect.STATUS else found

    def _present(self, key: Key, lines: Sequence[Line]) -> Answer:
        return _latest([each for each in self._told(key, lines) if each.act is not Act.FORMER])

    def _former(self, key: Key, lines: Sequence[Line]) -> Answer:
        told = self._told(key, lines)
        former = [
            replace(each, value=each.former or each.value)
            for each in told
            if each.former or each.act is Act.FORMER
        ]
        return _latest(former) if former else _before_latest(told)

    def _told(self, key: Key, lines: Sequence[Line]) -> list[_Told]:
        return [told for line in lines if (told := _of_line(line, key, self.clauses(line.text)))]


LITERAL = LedgerReader("literal", grammar.loose)
GRAMMAR = LedgerReader("grammar", lambda text: [each for each in grammar.strict(text) if not each.hedged])
READERS: dict[str, Reader] = {reader.name: reader for reader in (LITERAL, GRAMMAR)}


@dataclass(frozen=True, slots=True)
class _Told:
    """What one memory says of the key: a value, `_NOTHING` for "taken back", or `CONFLICT`."""

    act: Act
    value: str
    date: str
    alias: str
    former: str = ""


def _of_line(line: Line, key: Key, clauses: Iterable[Clause]) -> _Told | None:
    about = [clause for clause in clauses if clause.key == key]
    if not about:
        return None
    value, date = _value(about[0], line)
    if any(_value(other, line)[0] != value for other in about):
        value = CONFLICT
    return _Told(about[0].act, value, date, line.alias, about[0].former)


def _value(clause: Clause, line: Line) -> tuple[str, str]:
    """The clause's value and the date at which it was stated."""
    match clause.act:
        case Act.RETRACT | Act.CANCEL:
            return _NOTHING, line.time
        case Act.VALID | Act.REVOKE:
            return VALID if clause.act is Act.VALID else REVOKED, line.time
        case Act.EVENT if not clause.values:
            # The memory's time is the day of the event, and says nothing of when that was stated.
            return line.time or _NOTHING, ""
        case _:
            return clause.values[0] if len(clause.values) == 1 else CONFLICT, line.time


def _latest(told: Sequence[_Told]) -> Answer:
    """The value that was stated last, if that can be said."""
    if not told:
        return Answer(NOT_KNOWN)
    dated = all(each.date for each in told)
    last = max(each.date for each in told) if dated else ""
    deciding = [each for each in told if not dated or each.date == last]
    values = {each.value for each in deciding}
    if len(values) > 1:
        return Answer(CONFLICT, tuple(each.alias for each in deciding))
    return Answer(deciding[0].value or NOT_KNOWN, (deciding[0].alias,))


def _before_latest(told: Sequence[_Told]) -> Answer:
    """The value before the present one, where every statement has a date."""
    if not all(each.date for each in told):
        return Answer(NOT_KNOWN)
    present = _latest(told)
    earlier = [each for each in told if (each.value or NOT_KNOWN) != present.text]
    return _latest(earlier)
