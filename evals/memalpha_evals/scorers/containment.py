"""Whether an answer says what is right: its words together, affirmed, and not as one guess among many.

Exactly this counts. The right words (`words`) stand in the answer whole and without a gap, and

- the answer has at most `LONGEST_FACTOR` times as many words as the right one, and `LONGEST_EXTRA` more;
- nowhere does a negation come before them in their clause with fewer than `_REACH` words between, unless
  the question has one itself: `it is not Paris` is refused, `not in London, in Paris` is not;
- no `or` stands beside them or one word further: `Paris or London` chooses neither;
- where they stand almost alone, with up to `_CANDIDATE` words more, between commas, other marks, `and`, or in
  a row of numbers, there are at most `MOST_OTHERS` other such pieces of up to `_CANDIDATE` words: `Rome and
  Paris` is taken, `1 2 3 4 5` is not.

A right yes or no comes first, and the other one nowhere: `no` stands in `I have no idea` too; here an answer
may be as long as it likes. What is not seen: a negation that follows, and names in a row without marks,
which only the length bounds.
"""

import re
from collections.abc import Iterator, Sequence

from memalpha_evals.scorers.words import clauses, spans, words

LONGEST_FACTOR = 2
LONGEST_EXTRA = 20
MOST_OTHERS = 3

CLOSED = (["yes"], ["no"])

_REACH = 4
_CANDIDATE = 3
_SPLITS = frozenset({"and", "or"})
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_NOT = (
    r"(?:not|no|never|nor|neither|without|cannot|cant|aint|hardly"
    r"|(?:is|was|are|were|do|does|did|has|have|had|would|could|should|wo)nt"
    r"|(?:instead|rather|other) (?:of|than))"
)
_NEGATION = re.compile(rf"\b{_NOT}\b")
# What takes a negation back, or ends its reach: `not only in Paris`, `not until May`, `not there but here`.
_ENDS = "only|just|until|but|because|due|since|as|so|than|later|more|less|fewer|doubt"
_DENIED = re.compile(rf"\b{_NOT}(?: (?!(?:{_ENDS})\b)\S+){{0,{_REACH - 1}}}$")


def contains(said: str, right: str, question: str = "") -> float:
    """1 if the answer to a question says what is right, by the rule above."""
    wanted, given = words(right), words(said)
    if wanted in CLOSED:
        other = "no" if wanted == ["yes"] else "yes"
        return float(given[:1] == wanted and other not in given)
    fits = len(given) <= LONGEST_FACTOR * len(wanted) + LONGEST_EXTRA
    if not fits or not spans(wanted, given) or _offered(wanted, given):
        return 0.0
    parts, pieces = clauses(right), clauses(said)
    denied = not _NEGATION.search(" ".join(words(question))) and _denied(parts[0], pieces)
    return float(not denied and not _listed(wanted, parts, pieces))


def _places(inner: Sequence[str], outer: Sequence[str]) -> Iterator[int]:
    size = len(inner)
    return (place for place in range(len(outer) - size + 1) if outer[place : place + size] == inner)


def _offered(wanted: Sequence[str], given: Sequence[str]) -> bool:
    """An `or` stands beside the right words."""
    return any(
        "or" in (*given[max(0, place - 2) : place], *given[place + len(wanted) : place + len(wanted) + 2])
        for place in _places(wanted, given)
    )


def _denied(wanted: Sequence[str], pieces: Sequence[Sequence[str]]) -> bool:
    """A negation stands before where the right words begin."""
    return any(
        _DENIED.search(" ".join(piece[:place])) for piece in pieces for place in _places(wanted, piece)
    )


def _listed(wanted: Sequence[str], right: Sequence[Sequence[str]], pieces: Sequence[Sequence[str]]) -> bool:
    """The right words are one of many candidates; what the right answer lists itself is none."""
    own, given = list(_items(right)) or [list(wanted)], list(_items(pieces))
    if not any(spans(own[0], each) and len(each) <= len(own[0]) + _CANDIDATE for each in given):
        return False
    others = (each for each in given if len(each) <= _CANDIDATE and not spans(wanted, each))
    found = [each for each in others if not any(spans(each, mine) or spans(mine, each) for mine in own)]
    return len(found) > MOST_OTHERS


def _items(pieces: Sequence[Sequence[str]]) -> Iterator[list[str]]:
    for piece in pieces:
        item: list[str] = []
        for word in piece:
            in_a_row = item and _NUMBER.fullmatch(item[-1]) and _NUMBER.fullmatch(word)
            if item and (word in _SPLITS or in_a_row):
                yield item
                item = []
            item += [word] if word not in _SPLITS else []
        if item:
            yield item
