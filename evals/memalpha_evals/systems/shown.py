"""How stretches of a stream are shown to a reader, and how they are made to fit.

A stretch stands behind its time in brackets on a line of its own, as a stream writes it. No text is longer
than the budget: what is put together is counted as a whole. Tokens are o200k tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from memalpha.agent.context import CUT
from memcore import count_tokens, split_tokens


@dataclass(frozen=True)
class Stretch:
    """A piece of a stream; `tokens` are those of the text alone."""

    text: str
    event_time: str
    tokens: int

    @property
    def shown(self) -> str:
        """As a reader sees it."""
        return f"[{self.event_time}]\n{self.text}" if self.event_time else self.text

    @cached_property
    def room(self) -> int:
        """Tokens that it takes among others: as it is shown, and the line break."""
        return count_tokens(self.shown) + 1


@dataclass(frozen=True, slots=True)
class Fitted:
    """Text within a budget; `cut` says that something was left out."""

    text: str
    tokens: int
    cut: bool


def newest(stretches: Sequence[Stretch], budget: int) -> Fitted:
    """The last stretches that fit, and the end of the one before, behind `CUT` and its time."""
    kept = list[str]()
    left = budget
    for stretch in reversed(stretches):
        if stretch.room > left:
            return _behind_cut(stretch, kept[::-1], budget)
        kept.append(stretch.shown)
        left -= stretch.room
    text = "\n".join(reversed(kept))
    return Fitted(text, count_tokens(text), cut=False)


def _behind_cut(older: Stretch, kept: list[str], budget: int) -> Fitted:
    """The newest of the lines of `older`, whole, and everything kept."""
    head = f"{CUT}\n[{older.event_time}]" if older.event_time else CUT
    lines = older.text.split("\n")
    left = budget - count_tokens("\n".join([head, *kept])) - 1
    first = len(lines)
    while first > 0 and (left := left - count_tokens(lines[first - 1]) - 1) >= 0:
        first -= 1
    # Lines may cost more together than alone; then the oldest ones go.
    parts = [*lines[first:], *kept]
    while parts and count_tokens("\n".join([head, *parts])) > budget:
        parts = parts[1:]
    text = "\n".join([head, *parts]) if parts else ""
    return Fitted(text, count_tokens(text), cut=True)


def best(stretches: Sequence[Stretch], ranked: Sequence[int], budget: int) -> Fitted:
    """The best stretches that fit, whole, in order of the stream; `ranked` are their places, best first.

    Where not even the best one fits, its beginning is shown.
    """
    taken = list[int]()
    left = budget
    for place in ranked:
        room = stretches[place].room
        if room <= left:
            taken.append(place)
            left -= room
    if ranked and not taken:
        return beginning(stretches[ranked[0]].shown, budget)
    while True:
        text = "\n".join(stretches[place].shown for place in sorted(taken))
        tokens = count_tokens(text)
        if tokens <= budget:
            return Fitted(text, tokens, cut=len(taken) < len(ranked))
        taken.pop()


def beginning(text: str, budget: int) -> Fitted:
    """The text, or as much of its beginning as fits, before `CUT`."""
    tokens = count_tokens(text)
    if tokens <= budget:
        return Fitted(text, tokens, cut=False)
    room = budget - count_tokens(CUT) - 1
    while room > 0:
        short = f"{split_tokens(text, room)[0]} {CUT}"
        tokens = count_tokens(short)
        if tokens <= budget:
            return Fitted(short, tokens, cut=True)
        room -= tokens - budget
    return Fitted("", 0, cut=True)
