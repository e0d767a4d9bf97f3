"""Whether an answer denies what is right.

A negation comes before the right words in their clause with fewer than `_REACH` words between, unless the
question has one itself: `it is not Paris`, `anything but Paris`; `not in London, in Paris` denies no Paris.
A colon, a quote or a bracket ends no clause here, `not mentioned: Paris`, but for a `no` that stands alone.
What another right piece says is no negation. Or a clause that only refuses follows: `Paris? No.`,
`Paris, not really`. What is not seen is a negation that follows in the same clause.
"""

import re
from collections.abc import Sequence
from itertools import pairwise

from memalpha_evals.scorers.words import marked, places, spans, words

_REACH = 4
_NOT = (
    r"(?:not|no|never|nor|neither|without|cannot|cant|aint|hardly|nobody|nothing|nowhere|none|except|excluding"
    r"|(?:is|was|are|were|do|does|did|has|have|had|would|could|should|wo)nt"
    r"|(?:instead|rather|other) (?:of|than)|(?:all|(?:any|every)(?:where|thing|one|body)) but)"
)
_NEGATION = re.compile(rf"\b{_NOT}\b")
# What takes a negation back, or ends its reach: `not only in Paris`, `not until May`, `not there but here`.
_ENDS = "only|just|until|but|because|due|since|as|so|than|later|more|less|fewer|doubt"
_DENIED = re.compile(rf"\b{_NOT}(?: (?!(?:{_ENDS})\b)\S+){{0,{_REACH - 1}}}$")
_REFUSES = re.compile(
    r"(?:but |well |actually )*"
    r"(?:no|nope|nah|not|never|wrong|false|incorrect|no way|not (?:really|at all|so|true|that))"
)
_REFUSES_ASKED = re.compile(rf"(?:no|nope|nah|not|never)\b(?! (?:{_ENDS}|question)\b)")
_JOINING = frozenset(':"[]{}')
_PIECE = "\N{WHITE SQUARE}"
"""Stands for another right piece, whose own `not` denies nothing."""


def denied(pieces: Sequence[list[str]], said: str, question: str = "") -> bool:
    """Whether an answer to a question denies one of the right pieces."""
    if _NEGATION.search(" ".join(words(question))):
        return False
    clauses = _clauses(said)
    return any(_before(each, pieces, clauses) or _behind(each, pieces, clauses) for each in pieces)


def _clauses(said: str) -> list[tuple[list[str], str]]:
    """The words between marks that end a clause, and those marks."""
    found: list[tuple[list[str], str]] = []
    for clause, mark in marked(said):
        if found and found[-1][0] != ["no"] and found[-1][1] and _JOINING.issuperset(found[-1][1]):
            found[-1] = (found[-1][0] + clause, mark)
        else:
            found.append((clause, mark))
    return found


def _before(wanted: list[str], pieces: Sequence[list[str]], clauses: Sequence[tuple[list[str], str]]) -> bool:
    others = [each for each in pieces if each != wanted]
    return any(
        _DENIED.search(_hidden(clause[:place], others))
        for clause, _ in clauses
        for place in places(wanted, clause)
    )


def _hidden(given: Sequence[str], pieces: Sequence[list[str]]) -> str:
    text = f" {' '.join(given)} "
    for each in pieces:
        text = text.replace(f" {' '.join(each)} ", f" {_PIECE} ")
    return text.strip()


def _behind(wanted: list[str], pieces: Sequence[list[str]], clauses: Sequence[tuple[list[str], str]]) -> bool:
    """The clause behind that of the right words refuses them."""
    for (clause, mark), (after, _) in pairwise(clauses):
        refuses = " ".join(after)
        if (
            after not in pieces
            and spans(wanted, clause)
            and (_REFUSES.fullmatch(refuses) or ("?" in mark and _REFUSES_ASKED.match(refuses)))
        ):
            return True
    return False
