"""Whether right words are one guess among many, so that whoever gave them chose nothing.

An answer falls into items: what stands between marks, between `and`, `or`, `then` and the like, and each of
numbers, months or weekdays in a row (`1 week 2 weeks`). Right words are a guess if with them stand more than
`MOST_OTHERS` others that are no part of the right answer, of one of these kinds:

- items like the one that says little more than they do, which has up to `_CANDIDATE` words more: short, or
  begun like it. `in June`, beside `Paris`, is none; `in Rome`, beside `in Paris`, is one;
- short items in a row with theirs, and a longer one whose end or beginning is of the row: `She bakes on
  Monday, Tuesday, Wednesday, Thursday and Friday`;
- what a word that comes again and again divides: `maybe Rome maybe Oslo maybe Paris maybe Bonn maybe Kiel`.

Or if they stand with more than `_BARE` other words in a row of which none is a pronoun, a preposition, an
auxiliary or the like: names one after the other. A shorter row of names without marks is not seen.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile

from memalpha_evals.scorers.items import items, kind, marked_items
from memalpha_evals.scorers.words import marked, places, spans, words

MOST_OTHERS = 3
_CANDIDATE = 3
_BARE = 9

_LATER = frozenset({"when", "while", "since", "as", "because", "if", "after", "before", "until"})
# What begins a clause that goes on with what was said.
_TALK = _LATER | frozenset(
    (
        *("i", "you", "he", "she", "it", "we", "they", "my", "your", "his", "her", "its", "our", "their"),
        *("this", "that", "there", "which", "who", "where", "so", "but", "also"),
    )
)
_PLACED = frozenset({"in", "on", "at", "of", "by", "to", "from", "with", "for", "into", "during"})
_GLUE = (
    _TALK
    | _PLACED
    | frozenset(
        (
            *("is", "was", "are", "were", "be", "been", "being", "has", "have", "had", "do", "does", "did"),
            *("will", "would", "can", "could", "should", "might", "must", "not", "no", "than", "what", "how"),
            *("me", "him", "them", "us", "these", "those", "some", "any", "all", "each", "about", "between"),
            *(
                "over",
                "under",
                "through",
                "against",
                "near",
                "around",
                "like",
                "such",
                "whose",
                "whom",
                "only",
            ),
        )
    )
)
_SENTENCE_ENDS = frozenset(".!?\n")


def guessed(pieces: Sequence[list[str]], said: str) -> bool:
    """Whether one of the right pieces is one guess among many in an answer."""
    given, clauses = words(said), marked(said)
    parts = [each for clause, mark in clauses for each in marked_items(clause, mark)]
    own = [item for piece in pieces for item in items(piece)]
    return any(
        any(
            _many(row, own)
            for row in (*_alike(piece, parts), *_rows(piece, parts), *_divided(piece, given, own))
        )
        or any(_bare(piece, own, clause) for clause, _ in clauses)
        for piece in pieces
    )


def _many(items: Iterable[Sequence[str]], own: Sequence[list[str]]) -> bool:
    """More than a few are no part of the right answer."""
    others = [each for each in items if not any(spans(each, mine) or spans(mine, each) for mine in own)]
    return len(others) > MOST_OTHERS


def _alike(piece: list[str], items: Sequence[tuple[list[str], str]]) -> Iterator[list[list[str]]]:
    """The items like each that says little more than a piece."""
    for alone, _ in items:
        if len(alone) <= len(piece) + _CANDIDATE and spans(piece, alone):
            yield [each for each, _ in items if _parallel(each, alone)]


def _parallel(item: Sequence[str], alone: Sequence[str]) -> bool:
    """Short, or not much longer; one that opens with a pronoun or the like opens like the other."""
    if _opens(item) and item[0] != alone[0]:
        return False
    return len(item) <= max(_CANDIDATE, 2 * len(alone))


def _opens(item: Sequence[str]) -> bool:
    """Whether an item goes on with what was said and is no candidate; a `no` alone may be one."""
    return item[0] in (_GLUE if len(item) > 1 else _TALK | _PLACED)


def _rows(piece: list[str], items: Sequence[tuple[list[str], str]]) -> Iterator[list[list[str]]]:
    """The short items right before and behind one with a piece, and the longer one at an end of their row."""
    size, marks = len(piece), [mark for _, mark in items]
    for place, (item, _) in enumerate(items):
        row, ends = list[list[str]](), list[list[str]]()
        if item[:size] == piece:
            row, ends = _row([each for each, _ in items[:place]][::-1], marks[:place][::-1], size)
            ends = [each for each in ends if _leads(each, piece)]
        if item[-size:] == piece:
            behind, last = _row([each for each, _ in items[place + 1 :]], marks[place:], size)
            row, ends = [*row, *behind], [*ends, *(each for each in last if not _opens(each))]
        yield [*row, *ends[:1]]


def _row(
    items: Sequence[list[str]], marks: Sequence[str], size: int
) -> tuple[list[list[str]], list[list[str]]]:
    """Short items, and the one behind them, if it is of the same sentence; each behind its mark.

    What says where or when is passed over.
    """
    longest = max(_CANDIDATE, size + 1)
    row = list(takewhile(lambda item: len(item) <= longest and item[0] not in _TALK, items))
    end = list(items[len(row) : len(row) + 1])
    same = end and _SENTENCE_ENDS.isdisjoint(marks[len(row)])
    return [each for each in row if not _opens(each)], end if same else []


def _leads(item: Sequence[str], piece: Sequence[str]) -> bool:
    """Whether the last words of a longer item may begin the row that goes on with a piece."""
    like = kind(piece[-1]) and kind(piece[-1]) == kind(item[-1])
    return bool(like) or item[0] not in _PLACED | _LATER


def _divided(piece: list[str], given: list[str], own: Sequence[list[str]]) -> Iterator[list[list[str]]]:
    """What a word divides that comes again and again, with a few words between, if a piece is of it."""
    mine, reach = {word for each in own for word in each}, max(_CANDIDATE, len(piece))
    for word in dict.fromkeys(given):
        at = [place for place, each in enumerate(given) if each == word and word not in mine]
        for run in _near(at, reach + 1):
            parts = _split(given[max(0, run[0] - reach) : run[-1] + reach + 1], word)
            if any(spans(piece, each) for each in parts):
                yield parts


def _near(at: Sequence[int], reach: int) -> Iterator[list[int]]:
    """Places in runs."""
    run: list[int] = []
    for place in at:
        if run and place - run[-1] > reach:
            yield run
            run = []
        run.append(place)
    if run:
        yield run


def _split(given: Sequence[str], word: str) -> list[list[str]]:
    parts: list[list[str]] = [[]]
    for each in given:
        if each == word:
            parts.append([])
        else:
            parts[-1].append(each)
    return [part for part in parts if part]


def _bare(piece: list[str], own: Sequence[list[str]], clause: Sequence[str]) -> bool:
    """The piece is in a row of names."""
    mine = {word for each in own for word in each}
    for place in places(piece, clause):
        before = takewhile(lambda word: word not in _GLUE, clause[:place][::-1])
        behind = takewhile(lambda word: word not in _GLUE, clause[place + len(piece) :])
        if sum(word not in mine for word in (*before, *behind)) > _BARE:
            return True
    return False
