"""The items that a clause falls into: what stands between `and`, `or`, `then` and the like.

Numbers, months and weekdays in a row are an item each, with what they count or not: `May June` and
`1 week 2 weeks` are two, `7 May 2023` is one.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import takewhile

from memalpha_evals.scorers.words import CALENDAR

_SPLITS = frozenset({"and", "or", "then", "plus", "vs", "versus"})
_KINDS = CALENDAR | {name[:3]: kind for name, kind in CALENDAR.items()}
_COUNTS = {
    "number": re.compile(r"-?\d+(?:\.\d+)?"),
    "day": re.compile(r"d\d+"),
    "rank": re.compile(r"\d+(?:st|nd|rd|th)"),
}


def marked_items(clause: Sequence[str], mark: str) -> list[tuple[list[str], str]]:
    """The items of a clause, with the mark that ends each; empty within the clause."""
    found = list(items(clause))
    return [(each, mark if each is found[-1] else "") for each in found]


def items(clause: Sequence[str]) -> Iterator[list[str]]:
    """The items of a clause, in order."""
    item: list[str] = []
    for word in clause:
        if item and (word in _SPLITS or kind(word) in _ending(item)):
            yield item
            item = []
        item += [word] if word not in _SPLITS else []
    if item:
        yield item


def _ending(item: list[str]) -> set[str]:
    """The kinds of the numbers and names of the calendar that an item ends with, before a unit or not."""
    end = item if kind(item[-1]) else item[:-1]
    return {kind(word) for word in takewhile(kind, reversed(end))}


def kind(word: str) -> str:
    """Of what there are rows without marks; empty: of no such kind."""
    return next((kind for kind, form in _COUNTS.items() if form.fullmatch(word)), _KINDS.get(word, ""))
