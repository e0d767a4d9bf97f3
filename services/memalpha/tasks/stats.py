"""Is one row better than another? Paired differences and normalised means, with intervals by clusters.

Questions about one conversation are not independent: what is easy to search is easy for all of them. So the
bootstrap draws whole conversations, never single questions of theirs (Davison & Hinkley 1997, section 3.8).
With few conversations there is too little to draw from, and no interval is given.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np

FEWEST_CLUSTERS = 5
"""Below this many clusters a difference describes its sample and claims nothing beyond."""


@dataclass(frozen=True, slots=True)
class Interval:
    """Where a mean lies."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Difference:
    """Mean of paired differences over all questions; `interval` is None below `FEWEST_CLUSTERS` clusters."""

    mean: float
    interval: Interval | None
    questions: int
    clusters: int
    better: int
    worse: int


@dataclass(frozen=True, slots=True)
class Normalised:
    """A mean between floor (0) and ceiling (1).

    `interval` is None below `FEWEST_CLUSTERS` clusters, and where a draw's ceiling is not above its floor:
    a scale that chance can turn over tells no place on it.
    """

    mean: float
    interval: Interval | None


def paired_difference(
    ours: Sequence[float],
    theirs: Sequence[float],
    clusters: Sequence[Hashable],
    *,
    samples: int,
    confidence: float,
    seed: int,
) -> Difference:
    """Compares two systems on the same questions.

    Args:
        ours: One score for each question.
        theirs: The other system's scores, in the same order.
        clusters: The cluster of each question, such as its conversation.
        samples: Bootstrap draws.
        confidence: Share of draws inside the interval, such as 0.95.
        seed: Of the draws.

    Raises:
        ValueError: The three differ in length, or are empty.
    """
    if not len(ours) == len(theirs) == len(clusters) > 0:
        raise ValueError(
            f"scores must be paired, but there are {len(ours)}, {len(theirs)} of {len(clusters)} questions"
        )
    differences = np.asarray(ours, dtype=float) - np.asarray(theirs, dtype=float)
    sums, sizes = _by_cluster(clusters, differences), _by_cluster(clusters, np.ones(len(clusters)))
    return Difference(
        mean=float(differences.mean()),
        interval=_interval(
            lambda drawn: sums[drawn].sum() / sizes[drawn].sum(),
            len(sums),
            samples=samples,
            confidence=confidence,
            seed=seed,
        ),
        questions=len(differences),
        clusters=len(sums),
        better=int((differences > 0).sum()),
        worse=int((differences < 0).sum()),
    )


def normalised(
    scores: Sequence[float],
    floor: Sequence[float],
    ceiling: Sequence[float],
    clusters: Sequence[Hashable],
    *,
    samples: int,
    confidence: float,
    seed: int,
) -> Normalised:
    """Where a row lies between two others on the same questions.

    That is (scores - floor) / (ceiling - floor), of means. Floor and ceiling are drawn with the scores, so
    the interval knows that they are estimates too.

    Args:
        scores: One for each question.
        floor: Of the row that counts as 0, in the same order.
        ceiling: Of the row that counts as 1.
        clusters: The cluster of each question.
        samples: Bootstrap draws.
        confidence: Share of draws inside the interval.
        seed: Of the draws.

    Raises:
        ValueError: The four differ in length, or are empty, or floor and ceiling have the same mean.
    """
    if not len(scores) == len(floor) == len(ceiling) == len(clusters) > 0:
        counts = f"{len(scores)}, {len(floor)}, {len(ceiling)} of {len(clusters)}"
        raise ValueError(f"scores must be paired, but there are {counts} questions")
    base = np.asarray(floor, dtype=float)
    gained = _by_cluster(clusters, np.asarray(scores, dtype=float) - base)
    possible = _by_cluster(clusters, np.asarray(ceiling, dtype=float) - base)
    if not possible.sum():
        raise ValueError("floor and ceiling must differ to span a scale, but have the same mean")
    return Normalised(
        mean=float(gained.sum() / possible.sum()),
        interval=_interval(
            lambda drawn: _place(gained[drawn].sum(), possible[drawn].sum()),
            len(gained),
            samples=samples,
            confidence=confidence,
            seed=seed,
        ),
    )


def _place(gained: float, possible: float) -> float:
    return gained / possible if possible > 0 else np.nan


def _by_cluster(clusters: Sequence[Hashable], values: np.ndarray) -> np.ndarray:
    """Sums of the values of each cluster, in order of first appearance."""
    names = {name: place for place, name in enumerate(dict.fromkeys(clusters))}
    return np.bincount([names[cluster] for cluster in clusters], weights=values)


def _interval(
    statistic: Callable[[np.ndarray], float], clusters: int, *, samples: int, confidence: float, seed: int
) -> Interval | None:
    """Percentile interval of a statistic of clusters drawn with replacement; None if it is undefined once."""
    if clusters < FEWEST_CLUSTERS:
        return None
    generator = np.random.default_rng(seed)
    drawn = np.empty(samples)
    for sample in range(samples):  # one at a time: all draws of thousands of clusters would fill the memory
        drawn[sample] = statistic(generator.integers(clusters, size=clusters))
    if np.isnan(drawn).any():
        return None
    tail = (1 - confidence) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return Interval(low=float(low), high=float(high))
