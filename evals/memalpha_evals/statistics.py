"""What a table of scores may claim: intervals, tests, corrections, and how small a difference could be seen.

The paired cluster bootstrap is `memalpha.tasks.stats`; here is what stands beside it. Questions about one
conversation are not independent, so errors of means are clustered (Miller, arXiv 2411.00640, section 2.2):
the sums of deviations of each cluster, with the factor G/(G-1), and Student's t with G-1 degrees of freedom.
With fewer than `FEWEST_CLUSTERS` clusters a number is a number and claims nothing. Seeds are another source
of error than questions, and are never added to them. Pure functions.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist, stdev

from memalpha.tasks.stats import FEWEST_CLUSTERS, Interval

_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean with its clustered standard error; both error and interval are None below `FEWEST_CLUSTERS`."""

    value: float
    error: float | None
    interval: Interval | None
    questions: int
    clusters: int


def clustered_mean(values: Sequence[float], clusters: Sequence[Hashable], confidence: float = 0.95) -> Mean:
    """The mean over questions, its cluster-robust error, and the t interval.

    Raises:
        ValueError: There are no values, or not one cluster for each.
    """
    if not len(values) == len(clusters) > 0:
        raise ValueError(f"each value must have a cluster, but there are {len(values)} and {len(clusters)}")
    mean = sum(values) / len(values)
    sums: dict[Hashable, float] = {}
    for value, cluster in zip(values, clusters, strict=True):
        sums[cluster] = sums.get(cluster, 0.0) + value - mean
    groups = len(sums)
    if groups < FEWEST_CLUSTERS:
        return Mean(mean, None, None, len(values), groups)
    variance = groups / (groups - 1) * sum(each * each for each in sums.values())
    error = math.sqrt(variance) / len(values)
    reach = student_quantile((1 + confidence) / 2, groups - 1) * error
    return Mean(mean, error, Interval(mean - reach, mean + reach), len(values), groups)


def wilson(successes: int, trials: int, confidence: float = 0.95) -> Interval:
    """Wilson's score interval of a single proportion of independent trials.

    Raises:
        ValueError: There are no trials, or more successes than trials.
    """
    if not 0 <= successes <= trials or not trials:
        raise ValueError(f"successes must be from 0 to trials, at least one, not {successes} of {trials}")
    z = _NORMAL.inv_cdf((1 + confidence) / 2)
    share, scale = successes / trials, 1 + z * z / trials
    middle = (share + z * z / (2 * trials)) / scale
    reach = z / scale * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    return Interval(max(0.0, middle - reach), min(1.0, middle + reach))


def mcnemar(only_ours: int, only_theirs: int) -> float:
    """Two-sided exact p of a paired yes-or-no comparison, from the questions that just one of both got right.

    It takes questions as independent; with clusters it is too sure.
    """
    trials, fewer = only_ours + only_theirs, min(only_ours, only_theirs)
    tail = sum(math.comb(trials, count) for count in range(fewer + 1))
    return min(1.0, float(2 * tail / 2**trials)) if trials else 1.0


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Holm's step-down adjustment (1979) over comparisons that were all named beforehand; same order."""
    adjusted: dict[str, float] = {}
    highest = 0.0
    for done, (name, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        highest = max(highest, min(1.0, (len(p_values) - done) * p))
        adjusted[name] = highest
    return {name: adjusted[name] for name in p_values}


def detectable(
    questions: int, discordant: float = 0.2, *, power: float = 0.8, significance: float = 0.05
) -> float:
    """The smallest paired difference of shares that would be seen so often, if questions were independent.

    Args:
        questions: How many are compared.
        discordant: Share of the questions that just one of both gets right.
        power: How often it would be seen.
        significance: Two-sided level of the test.
    """
    reach = _NORMAL.inv_cdf(1 - significance / 2) + _NORMAL.inv_cdf(power)
    return min(1.0, reach * math.sqrt(discordant / questions))


def between_seeds(means: Sequence[float]) -> float | None:
    """Standard deviation of a system's means over seeds; None below three, which tell nothing."""
    return stdev(means) if len(means) >= 3 else None


def student_cdf(t: float, freedom: int) -> float:
    """Share of Student's t distribution below `t`: finite sums (Abramowitz & Stegun 26.7.3, 26.7.4)."""
    angle = math.atan(t / math.sqrt(freedom))
    sine, cosine = math.sin(angle), math.cos(angle)
    if freedom % 2:
        inner = angle + sine * cosine * _series(cosine, freedom // 2, 2) if freedom > 1 else angle
        return 0.5 + inner / math.pi
    return 0.5 + sine * _series(cosine, freedom // 2, 1) / 2


def student_quantile(share: float, freedom: int) -> float:
    """Where `student_cdf` is `share`, from 0.5 to below 1, by halving."""
    low, high = 0.0, 1.0
    while student_cdf(high, freedom) < share:
        low, high = high, 2 * high
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if student_cdf(middle, freedom) < share else (low, middle)
    return (low + high) / 2


def _series(cosine: float, terms: int, first: int) -> float:
    """1 + first/(first+1) cos² + first (first+2)/((first+1)(first+3)) cos⁴ + …, so many terms."""
    total = term = 1.0
    for place in range(first, first + 2 * (terms - 1), 2):
        term *= cosine * cosine * place / (place + 1)
        total += term
    return total
