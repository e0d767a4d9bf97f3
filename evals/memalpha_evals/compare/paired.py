"""Paired differences of a side from a baseline, over all questions and within each category.

A difference is taken question by question and averaged; interval, p and the difference that could be seen are
by Student's t over whole clusters, of one clustered standard error. Holm's correction is over the sides, on
the first line only: that is the comparison that was named beforehand, over all questions that can be
answered; the others are for reading. A single comparison has nothing to be corrected for.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from memalpha.tasks.stats import Difference
from memalpha_evals import statistics
from memalpha_evals.compare.measured import HEADLINE, parts, value
from memalpha_evals.compare.sides import Side
from memalpha_evals.rows import Row
from memalpha_evals.statistics import SIGNIFICANCE, clustered_mean, detectable_effect, holm, p_value


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a comparison, such as a category.

    Attributes:
        ours: The side's mean.
        baseline: The baseline's, over the same questions.
        difference: Of the two.
        error: Clustered standard error of the difference; None with few clusters, 0 where all are alike.
        freedom: Degrees of freedom of its t; None with few clusters.
        p: Of the difference against none; None with few clusters.
        adjusted: The same after Holm; on the first line only, and only of several comparisons.
        detectable: The smallest difference that would be seen four times in five; None with few clusters.
        by_cluster: Mean difference of each cluster.
    """

    name: str
    ours: float
    baseline: float
    difference: Difference
    error: float | None
    freedom: float | None
    p: float | None
    adjusted: float | None
    detectable: float | None
    by_cluster: dict[str, float]

    @property
    def claimed(self) -> float | None:
        """The p that counts: after Holm, where that was needed."""
        return self.p if self.adjusted is None else self.adjusted

    @property
    def clear(self) -> bool:
        """Whether that is below the level."""
        return self.claimed is not None and self.claimed < SIGNIFICANCE


@dataclass(frozen=True, slots=True)
class Comparison:
    """A side against a baseline.

    Attributes:
        together: How many comparisons the first line's p was corrected for; 1: it was not.
    """

    side: Side
    baseline: Side
    lines: tuple[Line, ...]
    together: int = 1

    @property
    def name(self) -> str:
        """What is taken from what."""
        return f"{self.side.name} − {self.baseline.name}"


Pair = tuple[Row, float, float]
"""A row of the baseline, the side's score and the baseline's."""


def compare(pairs: Sequence[tuple[Side, Side]], score: str = HEADLINE) -> list[Comparison]:
    """Each first side minus its baseline; Holm's correction is over all of them, if there are several.

    A side without a question in common with its baseline has no lines.
    """
    found = [
        Comparison(side, baseline, tuple(_lines(paired(baseline, side, score), baseline.facts.apart)))
        for side, baseline in pairs
    ]
    first = {str(place): each.lines[0].p for place, each in enumerate(found) if each.lines}
    known = {place: p for place, p in first.items() if p is not None}
    adjusted = holm(known) if len(known) > 1 else {}
    return [_adjusted(each, adjusted.get(str(place)), len(adjusted)) for place, each in enumerate(found)]


def paired(baseline: Side, side: Side, score: str = HEADLINE) -> list[Pair]:
    """Questions that both have a score of, in the baseline's order."""
    pairs = []
    for key, row in baseline.rows.items():
        other = side.rows.get(key)
        ours, theirs = (value(other, score) if other else None), value(row, score)
        if ours is not None and theirs is not None:
            pairs.append((row, ours, theirs))
    return pairs


def _lines(pairs: Sequence[Pair], apart: Collection[str]) -> list[Line]:
    lines = parts([row for row, _, _ in pairs], apart)
    named = ((name, [pair for pair in pairs if within(pair[0])]) for name, within in lines.items())
    return [_line(name, chosen) for name, chosen in named if chosen]


def _line(name: str, pairs: Sequence[Pair]) -> Line:
    ours, theirs = [each for _, each, _ in pairs], [each for _, _, each in pairs]
    clusters = [row.cluster for row, _, _ in pairs]
    found = clustered_mean([a - b for a, b in zip(ours, theirs, strict=True)], clusters)
    return Line(
        name,
        ours=sum(ours) / len(pairs),
        baseline=sum(theirs) / len(pairs),
        difference=statistics.paired(ours, theirs, clusters),
        error=found.error,
        freedom=found.freedom,
        p=p_value(found),
        adjusted=None,
        detectable=detectable_effect(found),
        by_cluster=_by_cluster(pairs),
    )


def _by_cluster(pairs: Sequence[Pair]) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for row, ours, theirs in pairs:
        found.setdefault(row.cluster, []).append(ours - theirs)
    return {name: sum(each) / len(each) for name, each in found.items()}


def _adjusted(comparison: Comparison, p: float | None, together: int) -> Comparison:
    if p is None:
        return comparison
    first, *others = comparison.lines
    return replace(comparison, lines=(replace(first, adjusted=p), *others), together=together)
