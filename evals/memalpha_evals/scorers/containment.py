"""Whether an answer says what is right: its words together, affirmed, and not as one guess among many.

Exactly this counts. The right words (`words`) stand in the answer whole and without a gap, and

- the answer has at most `LONGEST_FACTOR` times as many words as the right one, and `LONGEST_EXTRA` more;
- nowhere does a negation come before them in their clause with fewer than `_REACH` words between, unless
  the question has one itself: `it is not Paris` is refused, `not in London, in Paris` is not;
- no `or` stands beside them or one word further: `Paris or London` chooses neither;
- where they stand almost alone, with up to `_CANDIDATE` words more, between commas, other marks, bullets,
  `and`, or in a row of numbers, months or weekdays, there are at most `MOST_OTHERS` other such pieces, nor
  are there so many right before or behind them where they end or begin a longer piece: `Rome and Paris` is
  taken, `1 2 3 4 5` is not, nor is `I would say that it may be Paris, Rome, Oslo, Bonn or Bern`.

A right yes or no, in one of its forms (`yeah`, `nope`), comes first or after words such as `I think` alone,
and the other one nowhere: `no` stands in `I have no idea` and in `I think no one came` too; here an answer
may be as long as it likes. What is not seen: a negation that follows, and names in a row without marks,
which only the length bounds.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import takewhile

from memalpha_evals.scorers.words import CALENDAR, clauses, spans, words

LONGEST_FACTOR = 2
LONGEST_EXTRA = 20
MOST_OTHERS = 3

CLOSED = (["yes"], ["no"])

_YES = frozenset({"yes", "yeah", "yep", "yup", "yea"})
_NO = frozenset({"no", "nope", "nah"})
# Words that only lead to it; of `it's` the `'s` is no word.
_LEAD = re.compile(
    r"^(?:(?:well|oh|hmm|so|definitely|probably|id say|(?:it|this|that)s?|(?:my )?answer|is"
    r"|(?:i|we) (?:would |really )?(?:think|believe|guess|say)(?: that)?)(?: |$))+"
)
_REACH = 4
_CANDIDATE = 3
_SPLITS = frozenset({"and", "or"})
# What begins a clause that goes on with what was said.
_TALK = frozenset(
    (
        *("i", "you", "he", "she", "it", "we", "they", "my", "your", "his", "her", "its", "our", "their"),
        *("this", "that", "there", "which", "who", "where", "when", "while", "since", "as", "because"),
        *("so", "but", "if", "then", "also", "after", "before", "until"),
    )
)
_PLACED = frozenset({"in", "on", "at", "of", "by", "to", "from", "with", "for", "into", "during"})
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_DAY = re.compile(r"d\d+")
_NAMES = CALENDAR | {name[:3]: kind for name, kind in CALENDAR.items()}
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
        return float(_says(wanted == ["yes"], said))
    fits = len(given) <= LONGEST_FACTOR * len(wanted) + LONGEST_EXTRA
    if not fits or not spans(wanted, given) or _offered(wanted, given):
        return 0.0
    parts, pieces = clauses(right), clauses(said)
    denied = not _NEGATION.search(" ".join(words(question))) and _denied(parts[0], pieces)
    return float(not denied and not _listed(wanted, parts, pieces))


def _says(yes: bool, said: str) -> bool:
    """A yes or a no comes first, or ends the first clause behind words that only lead to it."""
    ours, others = (_YES, _NO) if yes else (_NO, _YES)
    meant = (" ".join(each) for each in clauses(said))
    first = next((each for each in meant if not _LEAD.fullmatch(each)), "")
    return (first.split(" ")[0] in ours or _LEAD.sub("", first, 1) in ours) and others.isdisjoint(words(said))


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

    def many(items: Iterable[Sequence[str]]) -> bool:
        others = (each for each in items if not spans(wanted, each))
        found = [each for each in others if not any(spans(each, mine) or spans(mine, each) for mine in own)]
        return len(found) > MOST_OTHERS

    places = [place for place, each in enumerate(given) if spans(own[0], each)]
    for alone in (given[place] for place in places if len(given[place]) <= len(own[0]) + _CANDIDATE):
        if many(each for each in given if _parallel(each, alone)):
            return True
    return any(many(run) for place in places for run in _runs(own[0], given, place))


def _parallel(item: Sequence[str], alone: Sequence[str]) -> bool:
    """A candidate beside one that stands almost alone: short, or not much longer and no clause unlike it."""
    if len(item) <= _CANDIDATE:
        return True
    alike = item[:2] == alone[:2] or item[0] not in _TALK | _PLACED
    return alike and len(item) <= 2 * len(alone)


def _runs(own: list[str], given: Sequence[Sequence[str]], place: int) -> Iterator[Iterable[Sequence[str]]]:
    """Bare items right behind a piece that ends with the right words, or right before one they begin."""
    bare = partial(_bare, longest=max(_CANDIDATE, len(own) + 1))
    if given[place][-len(own) :] == own:
        yield takewhile(bare, given[place + 1 :])
    if given[place][: len(own)] == own:
        yield takewhile(bare, given[:place][::-1])


def _bare(item: Sequence[str], longest: int) -> bool:
    return len(item) <= longest and item[0] not in _TALK


def _items(pieces: Sequence[Sequence[str]]) -> Iterator[list[str]]:
    for piece in pieces:
        item: list[str] = []
        for word in piece:
            if item and (word in _SPLITS or _kind(word) in _row(item)):
                yield item
                item = []
            item += [word] if word not in _SPLITS else []
        if item:
            yield item


def _row(item: Sequence[str]) -> set[str]:
    """The kinds of the numbers and names of the calendar that an item ends with."""
    return {_kind(word) for word in takewhile(_kind, reversed(item))}


def _kind(word: str) -> str:
    """Of what there are rows without marks; empty: of no such kind."""
    if _NUMBER.fullmatch(word):
        return "number"
    return "day" if _DAY.fullmatch(word) else _NAMES.get(word, "")
