"""Texts fill chunks in order, and every text knows in which chunks it ended up.

Each chunk has a number of tokens of its own, drawn from the limits. A text goes into the chunk that is being
filled if it fits, else into the next; only a text longer than any chunk is cut, at sentences if possible.
"""

from collections.abc import Iterable, Sequence
from random import Random

from memalpha.agent.chunking import split_text
from memalpha.tasks.data.limits import Limits
from memcore import count_tokens


def draw_targets(limits: Limits, rng: Random) -> list[int]:
    """How full each chunk of an instance is to be, in tokens; as many as it may have."""
    return [rng.randint(*limits.chunk_tokens) for _ in range(limits.chunks[1])]


class Packing:
    """The bodies of one instance's chunks while they are filled.

    Args:
        targets: From `draw_targets`.
        most: Tokens of the largest piece of a text.
        separator: What stands between the texts of a chunk.
    """

    def __init__(self, targets: Sequence[int], most: int, separator: str = "\n\n") -> None:
        self._most = most
        self._targets = targets
        self._parts: list[list[str]] = [[]]
        self._used = 0
        self._separator = separator

    def add(self, text: str) -> dict[int, str] | None:
        """Takes a text whole; returns its piece by chunk, or None and changes nothing if it does not fit."""
        pieces = [(piece, count_tokens(piece)) for piece in self._pieces(text)]
        places, used = self._places(tokens for _, tokens in pieces)
        if places[-1] >= len(self._targets):
            return None
        self._used = used
        for place, (piece, _) in zip(places, pieces, strict=True):
            while place >= len(self._parts):
                self._parts.append([])
            self._parts[place].append(piece)
        return {place: piece for place, (piece, _) in zip(places, pieces, strict=True)}

    def bodies(self) -> list[str]:
        """The chunks' bodies so far; none of them is empty."""
        return [self._separator.join(parts) for parts in self._parts if parts]

    def _pieces(self, text: str) -> list[str]:
        if count_tokens(text) <= self._most:
            return [text]
        return [piece for piece in split_text(text, self._most) if piece.strip()]

    def _places(self, sizes: Iterable[int]) -> tuple[list[int], int]:
        """The chunk of each piece, and how full the last one is then."""
        place, used = len(self._parts) - 1, self._used
        places: list[int] = []
        for tokens in sizes:
            if used and used + tokens > self._target(place):
                place, used = place + 1, 0
            used += tokens
            places.append(place)
        return places, used

    def _target(self, place: int) -> int:
        return self._targets[place] if place < len(self._targets) else self._most


def holding(pieces: dict[int, str], answers: Iterable[str]) -> tuple[int, ...]:
    """The chunks whose piece holds one of the answers, or all of the text's if none does."""
    wanted = [answer.lower() for answer in answers]
    found = [place for place, piece in pieces.items() if any(each in piece.lower() for each in wanted)]
    return tuple(sorted(found or pieces))
