"""Whether an answer says what is right: its words together, affirmed, and not as one guess among many.

Exactly this counts. The right words (`words`) stand in the answer whole and without a gap; or, where marks
and `and` divide the right answer, each of its pieces does, in any order: `pottery, painting, swimming` is
said by `swimming, pottery, and painting`. And

- the answer has at most `LONGEST_FACTOR` times as many words as the right one, and `LONGEST_EXTRA` more;
- no piece is denied (`denial`);
- no `or` stands beside the right words, or beside a piece, or one word further: `Paris or London` chooses
  neither;
- no piece is one guess among many (`guesses`).

A right yes or no is looked for in its own way (`closed`), and such an answer may be as long as it likes.
"""

from collections.abc import Iterator, Sequence

from memalpha_evals.scorers import closed
from memalpha_evals.scorers.denial import denied
from memalpha_evals.scorers.guesses import guessed
from memalpha_evals.scorers.words import marked, places, words

LONGEST_FACTOR = 2
LONGEST_EXTRA = 20

CLOSED = (["yes"], ["no"])

_SHORTENED = frozenset({"st", "dr", "mr", "mrs", "ms", "jr", "sr", "mt"})


def contains(said: str, right: str, question: str = "") -> float:
    """1 if the answer to a question says what is right, by the rule above."""
    wanted, given = words(right), words(said)
    if wanted in CLOSED:
        return float(closed.says(wanted == ["yes"], said))
    pieces = _pieces(right)
    fits = len(given) <= LONGEST_FACTOR * len(wanted) + LONGEST_EXTRA
    if not fits or not (_stand([wanted], given) or _stand(pieces, given)):
        return 0.0
    return float(not denied(pieces, said, question) and not guessed(pieces, said))


def _stand(pieces: Sequence[list[str]], given: Sequence[str]) -> bool:
    """All are there, and none is one of two to choose from; an `or` within them offers nothing."""
    found = [[(place, place + len(each)) for place in places(each, given)] for each in pieces]
    own = {at for spots in found for start, end in spots for at in range(start, end)}
    offers = {at for at, word in enumerate(given) if word == "or"} - own
    beside = (range(start - 2, end + 2) for spots in found for start, end in spots)
    return all(found) and not any(offers.intersection(each) for each in beside)


def _pieces(right: str) -> list[list[str]]:
    """What marks and `and` divide; all in one where a piece would be no more than a letter, as in `R&B`."""
    found = [piece for clause in _whole_names(right) for piece in _without_and(clause)]
    letters = any(all(len(word) == 1 and word.isalpha() for word in piece) for piece in found)
    return [words(right)] if letters or not found else found


def _whole_names(right: str) -> Iterator[list[str]]:
    """The words between marks; the point of `J. R. R. Tolkien` is none."""
    clause: list[str] = []
    for found, mark in marked(right):
        clause += found
        if mark != "." or not (len(clause[-1]) == 1 or clause[-1] in _SHORTENED):
            yield clause
            clause = []
    if clause:
        yield clause


def _without_and(clause: Sequence[str]) -> Iterator[list[str]]:
    piece: list[str] = []
    for word in [*clause, "and"]:
        if word == "and" and piece:
            yield piece
        piece = [] if word == "and" else [*piece, word]
