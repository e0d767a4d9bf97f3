"""Is one system better than another? Paired differences with intervals that respect clusters.

Questions about one conversation are not independent: what is easy to search is easy for all of them. So the
bootstrap draws whole conversations, never single questions of theirs (Davison & Hinkley 1997, section 3.8).
With few conversations there is too little to draw from, and no interval is given.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

FEWEST_CLUSTERS = 5
"""Below this many clusters a difference describes its sample and claims nothing beyond."""


@dataclass(frozen=True, slots=True)
class Interval:
    """Where a mean lies, by the percentile bootstrap."""

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
    names = {name: place for place, name in enumerate(dict.fromkeys(clusters))}
    interval = None
    if len(names) >= FEWEST_CLUSTERS:
        places = np.asarray([names[cluster] for cluster in clusters])
        sums = np.bincount(places, weights=differences)
        interval = _bootstrap(sums, np.bincount(places), samples=samples, confidence=confidence, seed=seed)
    return Difference(
        mean=float(differences.mean()),
        interval=interval,
        questions=len(differences),
        clusters=len(names),
        better=int((differences > 0).sum()),
        worse=int((differences < 0).sum()),
    )


def _bootstrap(
    sums: np.ndarray, sizes: np.ndarray, *, samples: int, confidence: float, seed: int
) -> Interval:
    """Percentile interval of sum / size over clusters drawn with replacement; one array entry each."""
    generator = np.random.default_rng(seed)
    means = np.empty(samples)
    for sample in range(samples):  # one at a time: all draws of thousands of clusters would fill the memory
        drawn = generator.integers(len(sums), size=len(sums))
        means[sample] = sums[drawn].sum() / sizes[drawn].sum()
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return Interval(low=float(low), high=float(high))
