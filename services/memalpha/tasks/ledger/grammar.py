"""The published grammar of statements and memories: text to clauses, negations and hedges included.

A text is read sentence by sentence (full stop, semicolon and line break end one). A sentence holds at most
one clause. `strict` reading takes a sentence only as a whole, with or without a known hedge around it, and
says whether it was hedged; `loose` reading finds a clause anywhere in its sentence and sees no hedge, which
makes every rumour a fact. All values of the attribute, or all dates, that stand in a clause's sentence count
as stated by it: whoever lists every value has said nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypeAlias

from memalpha.tasks.ledger import wording
from memalpha.tasks.ledger.wording import Act
from memalpha.tasks.ledger.words import VALUES

Key: TypeAlias = tuple[str, str]
"""A name and its attribute, pass or event."""

_END = re.compile(r"[.;]+(?:\s+|$)|\s*\n\s*")
_WORD = re.compile(r"\w+")
_PATTERNS = [(each.act, wording.pattern(each.template)) for each in wording.WORDINGS]
_HEDGES = [wording.pattern(template) for template in wording.HEDGES + wording.UNSEEN_HEDGES]
_BARE_EVENT = wording.pattern(wording.BARE_EVENT)
_DATE = re.compile(wording.DATE)
_WITH_DATES = (Act.EVENT, Act.MOVE)
_VALUES = {attribute: {value.casefold(): value for value in values} for attribute, values in VALUES.items()}


@dataclass(frozen=True, slots=True)
class Clause:
    """One thing that a sentence says.

    Attributes:
        values: The values or dates it states; more than one means that it states none. Empty for passes,
            cancellations and events without a day.
        former: The value before, where the clause states it too.
        hedged: Whether it is said to be uncertain; only `strict` reading knows.
    """

    act: Act
    key: Key
    values: tuple[str, ...] = ()
    former: str = ""
    hedged: bool = False


@lru_cache(maxsize=1 << 14)
def strict(text: str) -> tuple[Clause, ...]:
    """Clauses of the sentences that are understood as a whole."""
    return tuple(found for sentence in _sentences(text) if (found := _whole(sentence)))


@lru_cache(maxsize=1 << 14)
def loose(text: str) -> tuple[Clause, ...]:
    """Clauses found anywhere in the sentences, hedges not seen."""
    return tuple(found for sentence in _sentences(text) if (found := _anywhere(sentence)))


def _sentences(text: str) -> list[str]:
    return [part for part in _END.split(text.strip()) if part]


def _whole(sentence: str) -> Clause | None:
    for hedge in _HEDGES:
        if match := hedge.fullmatch(sentence):
            inner = _matched(match["c"], whole=True)
            return inner and replace(inner, hedged=True)
    return _matched(sentence, whole=True)


def _anywhere(sentence: str) -> Clause | None:
    return _matched(sentence, whole=False)


def _matched(sentence: str, *, whole: bool) -> Clause | None:
    for act, pattern in _PATTERNS:
        if match := pattern.fullmatch(sentence) if whole else pattern.search(sentence):
            return _clause(act, match.groupdict(), sentence)
    if match := _BARE_EVENT.fullmatch(sentence):
        return Clause(Act.EVENT, _key(match["n"], match["e"]))
    return None


def _clause(act: Act, slots: dict[str, str], sentence: str) -> Clause:
    attribute = slots.get("a") or slots.get("b") or slots["e"]
    key = _key(slots["n"], attribute)
    if act in _WITH_DATES:
        return Clause(act, key, tuple(dict.fromkeys(_DATE.findall(sentence))))
    if "v" not in slots:
        return Clause(act, key)
    known = _VALUES[key[1]]
    former = _spelled(known, slots.get("w", ""))
    words = [slots["v"], *_WORD.findall(sentence)]
    told = [_spelled(known, word) for word in words if word is words[0] or word.casefold() in known]
    return Clause(act, key, tuple(dict.fromkeys(value for value in told if value != former)), former)


def _spelled(known: dict[str, str], word: str) -> str:
    return known.get(word.casefold(), word)


def _key(name: str, attribute: str) -> Key:
    return name.capitalize(), attribute.lower()
