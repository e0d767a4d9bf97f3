"""Questions: how they are worded and understood, which kinds there are, and what answers them.

The mix is the same for every stream: two questions of each kind, one of them about a hot story wherever there
is one of that kind. A question's wording does not give its kind away: what was never told is asked for like
what was.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from memalpha.tasks.instance import Question
from memalpha.tasks.ledger.grammar import Key
from memalpha.tasks.ledger.plot import Role, Story
from memalpha.tasks.ledger.truth import REVOKED, State, Truth
from memalpha.tasks.ledger.words import VALUES

NOT_KNOWN = "not known"
"""The answer to what was never told, only rumoured, or taken back."""


class Aspect(StrEnum):
    """What of a key a question asks for."""

    PRESENT = "present"
    FORMER = "former"
    STATUS = "status"


_WORDINGS = (
    (Aspect.PRESENT, "What is {n}'s {w} now?"),
    (Aspect.PRESENT, "When is {n}'s {w}?"),
    (Aspect.FORMER, "What was {n}'s {w} before?"),
    (Aspect.STATUS, "Is {n}'s {w} revoked?"),
)
_PATTERNS = [
    (aspect, re.compile(re.escape(wording).replace(r"\{n\}", r"(\w+)").replace(r"\{w\}", r"(\w+)")))
    for aspect, wording in _WORDINGS
]


def understood(question: str) -> tuple[Aspect, Key] | None:
    """What a question asks for; None for any other wording."""
    for aspect, pattern in _PATTERNS:
        if match := pattern.fullmatch(question):
            return aspect, (match[1], match[2])
    return None


def worded(aspect: Aspect, key: Key) -> str:
    """The question: events have a day, everything else a value."""
    name, word = key
    wordings = [wording for each, wording in _WORDINGS if each is aspect]
    return wordings[0 if word in VALUES else -1].format(n=name, w=word)


@dataclass(frozen=True, slots=True)
class _Kind:
    """A kind of question, with what answers it in a state and the chunks that decided that.

    One story of each group of roles is asked about.
    """

    name: str
    aspect: Aspect
    groups: tuple[tuple[Role, ...], ...]
    answer: Callable[[State], str | None]
    evidence: Callable[[State], tuple[int | None, ...]]


def _value(state: State) -> str | None:
    return state.value


def _since(state: State) -> tuple[int | None, ...]:
    return (state.since,)


_COLD_PASSES = (Role.REVOKED, Role.CONFIRMED)
_TAKEN_BACK = (Role.RETRACTED, Role.CANCELLED)
_KINDS = (
    _Kind("current", Aspect.PRESENT, ((Role.COLD,), (Role.HOT,)), _value, _since),
    _Kind(
        "former",
        Aspect.FORMER,
        ((Role.CHANGED,), (Role.HOT,)),
        lambda state: state.former,
        lambda state: (state.former_since, state.since),
    ),
    _Kind(
        "revoked",
        Aspect.STATUS,
        (_COLD_PASSES, (Role.HOT_PASS,)),
        lambda state: "yes" if state.value == REVOKED else "no",
        _since,
    ),
    _Kind("date", Aspect.PRESENT, ((Role.EVENT,), (Role.HOT_EVENT,)), _value, _since),
    _Kind(
        "never_told",
        Aspect.PRESENT,
        ((Role.RUMOUR,), _TAKEN_BACK),
        lambda state: state.value or NOT_KNOWN,
        lambda state: (state.mentioned,),
    ),
)
KINDS = tuple(kind.name for kind in _KINDS)
"""Kinds of questions. There are as many of each, so that a mean over questions is one over kinds."""


def questions(rng: random.Random, stories: Sequence[Story], truth: Truth, time: str) -> list[Question]:
    """The questions about a stream.

    Args:
        rng: Chooses the stories.
        stories: All that were told; each role must be among them.
        truth: As of the end.
        time: When they are asked.
    """
    asked: list[Question] = []
    for kind in _KINDS:
        for roles in kind.groups:
            key = rng.choice([story.key for story in stories if story.role in roles and story.key])
            asked.append(_question(kind, key, truth[key], time))
    return asked


def _question(kind: _Kind, key: Key, state: State, time: str) -> Question:
    evidence = sorted({chunk for chunk in kind.evidence(state) if chunk is not None})
    answer = kind.answer(state) or ""
    return Question(worded(kind.aspect, key), (answer,), "strict", tuple(evidence), kind.name, time)
