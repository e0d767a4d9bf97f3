"""Current before stale: does a search rank what was said last above what it replaced?

BEAM's questions about updates and contradictions name two sides of evidence. Of each question the messages of
one side come wholly before those of the other; where they do not, or a side is empty, nothing is earlier and
the question is left out. Of a system counts whether the best place of the later side is above the best one of
the earlier; a side that the ranking does not hold is below everything, and where it holds neither, half is
counted, which is chance. A ranking that knows nothing of time comes out at `chance`: with one message on each
side a half. Whether both sides are among the first `FIRST` is told as well: a contradiction wants both.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from memalpha.tasks.data.readers.beam import Chat, Probe, find
from memalpha.tasks.data.readers.beam import read as read_chat
from memalpha.tasks.stats import Difference
from memalpha_evals.datasets import DatasetError, Turn
from memalpha_evals.retrieval.metrics import evidence_ranks
from memalpha_evals.retrieval.retrievers import Retriever
from memalpha_evals.statistics import Mean, clustered_share, paired

KINDS = ("knowledge_update", "contradiction_resolution")
FIRST = 10

Progress = Callable[[int], None]
"""Called with the number of questions that one system answered just now."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A question whose evidence has an earlier and a later side; `cluster` is its chat."""

    cluster: str
    kind: str
    text: str
    earlier: frozenset[str]
    later: frozenset[str]

    @property
    def chance(self) -> float:
        """How often an order by lot has the later side first."""
        return len(self.later) / (len(self.later) + len(self.earlier))


@dataclass(frozen=True, slots=True)
class Score:
    """What one system made of one question."""

    above: float
    both: float


@dataclass(frozen=True, slots=True)
class Result:
    """Pairs, the scores of each system by name in the same order, and how many questions have no sides."""

    chats: int
    pairs: tuple[Pair, ...]
    left_out: int
    scores: dict[str, tuple[Score, ...]]

    def of(self, kind: str) -> Result:
        """The part of one kind."""
        kept = [place for place, pair in enumerate(self.pairs) if pair.kind == kind]
        scores = {name: tuple(found[place] for place in kept) for name, found in self.scores.items()}
        return Result(self.chats, tuple(self.pairs[place] for place in kept), 0, scores)

    def above(self, system: str) -> Mean:
        """Share of questions with the later side above."""
        return clustered_share([each.above for each in self.scores[system]], self._clusters)

    def both(self, system: str) -> Mean:
        """Share of questions with both sides among the first."""
        return clustered_share([each.both for each in self.scores[system]], self._clusters)

    def beyond_chance(self, system: str) -> Difference:
        """Above, less what an order by lot gives."""
        found = [each.above for each in self.scores[system]]
        return paired(found, [pair.chance for pair in self.pairs], self._clusters)

    @property
    def chance(self) -> float:
        """Mean over questions."""
        return sum(pair.chance for pair in self.pairs) / len(self.pairs)

    @property
    def _clusters(self) -> list[str]:
        return [pair.cluster for pair in self.pairs]


def evaluate(
    folder: Path, numbers: Collection[int] | None, systems: Sequence[Retriever], progress: Progress
) -> Result:
    """Ranks the messages of each chat for each of its questions that have two sides.

    Raises:
        DatasetError: The folder is not BEAM, has no chat of a number, or no such question.
    """
    chats = _chats(folder, numbers)
    probes = sum(probe.kind in KINDS for chat in chats for probe in chat.probes)
    of_chats = [list(pairs(chat)) for chat in chats]
    scores: dict[str, list[Score]] = {system.name: [] for system in systems}
    for chat, asked in zip(chats, of_chats, strict=True):
        for system in systems:
            scores[system.name] += _scores(system, chat, asked)
            progress(len(asked))
    found = tuple(pair for asked in of_chats for pair in asked)
    if not found:
        raise DatasetError(
            f"{folder.name} has no question of {' or '.join(KINDS)} with an earlier and a later side"
        )
    return Result(
        len(chats), found, probes - len(found), {name: tuple(each) for name, each in scores.items()}
    )


def questions(folder: Path, numbers: Collection[int] | None) -> int:
    """How many each system is asked."""
    return sum(len(list(pairs(chat))) for chat in _chats(folder, numbers))


def _chats(folder: Path, numbers: Collection[int] | None) -> list[Chat]:
    return [read_chat(files) for files in find(folder, numbers)]


def pairs(chat: Chat) -> Iterator[Pair]:
    """The questions of a chat whose evidence has an earlier and a later side."""
    places = {message.id: place for place, message in enumerate(chat.messages)}
    for probe in chat.probes:
        if probe.kind in KINDS and (sides := _sides(probe, places)):
            yield Pair(str(chat.number), probe.kind, probe.text, *sides)


def _sides(probe: Probe, places: dict[str, int]) -> tuple[frozenset[str], frozenset[str]] | None:
    """Earlier and later; None if neither is wholly before the other."""
    known = [frozenset(side) & places.keys() for side in probe.sides]
    if len(known) != 2 or not all(known):
        return None
    earlier, later = sorted(known, key=lambda side: max(places[id_] for id_ in side))
    before = max(places[id_] for id_ in earlier) < min(places[id_] for id_ in later)
    return (earlier, later) if before else None


def _scores(system: Retriever, chat: Chat, asked: Sequence[Pair]) -> list[Score]:
    turns = [Turn(each.id, each.text, each.time, each.role) for each in chat.messages]
    rankings = system.rank(turns, [pair.text for pair in asked]) if asked else []
    return [score(ranking, pair) for ranking, pair in zip(rankings, asked, strict=True)]


def score(ranking: Sequence[str], pair: Pair) -> Score:
    """Of one ranking."""
    later, earlier = (
        min(evidence_ranks(ranking, side), default=len(ranking) + 1) for side in (pair.later, pair.earlier)
    )
    above = 0.5 if later == earlier else float(later < earlier)
    return Score(above, float(max(later, earlier) <= min(FIRST, len(ranking))))
