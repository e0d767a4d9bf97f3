"""What cells say together, fixed before those of `reports/pilot.md` were run: which rows, which differences.

A row's scores are the answers of all its cells on the same held-out streams; it lies between the empty memory
(0) and the oracle (1). Differences are paired, stream by stream and seed by seed. A bootstrap draws whole
streams, and cells by warm start: seeds that share one are not independent. With a single warm start it draws
its seeds instead, and the intervals say nothing about another one. Of the three differences that are claimed,
p-values are two-sided, from the same draws, and corrected by Holm's rule (Holm 1979).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from memalpha.tasks.stats import Interval
from memalpha_trainer.evaluation import BOOTSTRAP_SAMPLES, CONFIDENCE
from memalpha_trainer.experiment.cells import ARMS, GREEDY, REJECTION, SAMPLED, SCRIPTED
from memalpha_trainer.experiment.lines import CellLine

CLAIMS = (("evidence", GREEDY), ("evidence", REJECTION), ("evidence", "mem_alpha"))
"""Differences that are claimed, each as first minus second."""
FLOOR, CEILING = "empty", "oracle"
_SEED = 0


@dataclass(frozen=True, slots=True)
class Place:
    """A row at a length, normalised; `cells` is how many there are of it."""

    mean: float
    interval: Interval
    cells: int


@dataclass(frozen=True, slots=True)
class Claim:
    """A difference of normalised scores; `p` is corrected over all claims of a length."""

    first: str
    second: str
    mean: float
    interval: Interval
    p: float
    pairs: int


class Table:
    """The cells of one experiment, by row and length."""

    def __init__(self, lines: Sequence[CellLine]) -> None:
        """Over finished cells; of a cell that was run twice the last line counts."""
        self._lines = list({line.key: line for line in lines}.values())
        names = [*SCRIPTED, GREEDY, SAMPLED, REJECTION, *ARMS]
        present = {line.arm for line in self._lines}
        self.rows = [name for name in names if name in present]
        self.lengths = list(self._lines[0].results) if self._lines else []

    def place(self, row: str, length: str) -> Place:
        """Where a row lies."""
        scores, low, high = self._scores(row, length), self._one(FLOOR, length), self._one(CEILING, length)
        warm = [line.warm for line in self.of(row)]
        drawn = [
            _normalised(scores[np.ix_(cells, streams)], low[streams], high[streams])
            for cells, streams in _draws(warm, len(low))
        ]
        return Place(_normalised(scores, low, high), _interval(drawn), len(warm))

    def by_kind(self, row: str, length: str) -> dict[str, float]:
        """Accuracy of each kind of question, not normalised, over a row's cells."""
        found = [line.results[length].by_kind for line in self.of(row)]
        return {kind: float(np.mean([each[kind] for each in found])) for kind in found[0]}

    def claims(self, length: str) -> list[Claim]:
        """The differences that are claimed, of rows that are there."""
        made = [self._claim(*pair, length) for pair in CLAIMS if set(pair) <= set(self.rows)]
        return _holm(made)

    def of(self, row: str) -> list[CellLine]:
        """A row's cells."""
        return [line for line in self._lines if line.arm == row]

    def _claim(self, first: str, second: str, length: str) -> Claim:
        pairs = [(ours, theirs) for ours in self.of(first) if (theirs := self._partner(ours, second))]
        apart = np.stack([_by_stream(a, length) - _by_stream(b, length) for a, b in pairs])
        span = self._one(CEILING, length) - self._one(FLOOR, length)
        drawn = [
            float(apart[np.ix_(cells, streams)].mean() / span[streams].mean())
            for cells, streams in _draws([ours.warm for ours, _ in pairs], len(span))
        ]
        below = float(np.mean(np.asarray(drawn) <= 0))
        p = min(1.0, 2 * max(min(below, 1 - below), 1 / BOOTSTRAP_SAMPLES))
        return Claim(first, second, float(apart.mean() / span.mean()), _interval(drawn), p, len(pairs))

    def _partner(self, ours: CellLine, row: str) -> CellLine | None:
        """The other row's cell of the same warm start, and seed if it is trained; None without one."""
        same = [line for line in self.of(row) if line.warm == ours.warm]
        if row in (GREEDY, SAMPLED):
            return same[0] if same else None
        return next((line for line in same if line.seed == ours.seed), None)

    def _scores(self, row: str, length: str) -> np.ndarray:
        """Mean scores (cells, streams) of a row."""
        return np.stack([_by_stream(line, length) for line in self.of(row)])

    def _one(self, row: str, length: str) -> np.ndarray:
        return self._scores(row, length)[0]


def _draws(warm: Sequence[str], streams: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Bootstrap draws of cells and of streams: whole warm starts, or, of a single one, its seeds."""
    generator = np.random.default_rng(_SEED)
    names = list(dict.fromkeys(warm))
    places = [np.flatnonzero([each == name for each in warm]) for name in names]
    groups = places if len(places) > 1 else [np.array([each]) for each in range(len(warm))]
    for _ in range(BOOTSTRAP_SAMPLES):
        some = generator.integers(len(groups), size=len(groups))
        yield np.concatenate([groups[each] for each in some]), generator.integers(streams, size=streams)


def _by_stream(line: CellLine, length: str) -> np.ndarray:
    scores = line.results[length].scores
    names = list(dict.fromkeys(scores.instances))
    place = {name: number for number, name in enumerate(names)}
    sums = np.bincount([place[each] for each in scores.instances], weights=scores.scores)
    return sums / np.bincount([place[each] for each in scores.instances])


def _normalised(scores: np.ndarray, low: np.ndarray, high: np.ndarray) -> float:
    return float((scores.mean() - low.mean()) / (high.mean() - low.mean()))


def _interval(drawn: Sequence[float]) -> Interval:
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(np.asarray(drawn), [tail, 1 - tail])
    return Interval(float(low), float(high))


def _holm(claims: Sequence[Claim]) -> list[Claim]:
    """Holm's step-down correction, in the order that the claims have."""
    ordered, least, corrected = sorted(claims, key=lambda each: each.p), 0.0, dict[Claim, float]()
    for rank, each in enumerate(ordered):
        least = max(least, min(1.0, each.p * (len(ordered) - rank)))
        corrected[each] = least
    return [Claim(c.first, c.second, c.mean, c.interval, corrected[c], c.pairs) for c in claims]
