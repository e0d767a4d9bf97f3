"""What a table of scores may claim: intervals, tests, corrections, and how small a difference could be seen.

Questions about one conversation are not independent, so errors of means are clustered (Miller, arXiv
2411.00640, section 2.2): the sums of deviations of each cluster, each made larger by what a large cluster
hides by pulling the mean its way (CR2; Bell & McCaffrey, Survey Methodology 28, 2002), and Student's t with
their Satterthwaite degrees of freedom. With G clusters of one size that is the factor G/(G-1) and G-1
degrees; with unlike ones it is fewer: 20 clusters of which four hold most questions would be called clear
three times too often by G-1. Interval, p and power of a difference are all of this one error. A percentile
bootstrap of few clusters would be too sure: of five clusters without a difference it calls one in seven
clear. With fewer than `FEWEST_CLUSTERS` clusters a number is a number and claims nothing; nor does one of
more clusters whose sizes are so unlike that they weigh as fewer (Kish's n²/Σn², 1965). Scores and their
differences have bounds, and no interval leaves them; that of a share of right answers is Korn and Graubard's
(Survey Methodology 24, 1998), since t is far too sure near 0 and 1. Seeds are another source of error than
questions, and are never added to them. Pure functions.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from statistics import NormalDist, stdev

from memalpha.tasks.stats import FEWEST_CLUSTERS, Difference, Interval

CONFIDENCE = 0.95
SIGNIFICANCE = 1 - CONFIDENCE

_NORMAL = NormalDist()
_ROUNDED = 0.5
"""So much less than `FEWEST_CLUSTERS` clusters of unlike sizes may weigh."""
_NOTHING = 1e-12
"""What is smaller is left over from adding floats."""


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean with its clustered standard error; error, interval and freedom are None for too few clusters.

    The error is exactly 0 where all clusters have the same mean, whatever floats leave over. Nothing is then
    known of how much clusters differ, and there is no interval (`clustered_share` has one at 0 and 1).

    Attributes:
        freedom: Degrees of freedom of its t distribution, at most one less than there are clusters.
    """

    value: float
    error: float | None
    interval: Interval | None
    questions: int
    clusters: int
    freedom: float | None = None


def clustered_mean(
    values: Sequence[float], clusters: Sequence[Hashable], confidence: float = CONFIDENCE
) -> Mean:
    """The mean over questions, its cluster-robust error, and the t interval.

    Raises:
        ValueError: There are no values, or not one cluster for each.
    """
    if not len(values) == len(clusters) > 0:
        raise ValueError(f"each value must have a cluster, but there are {len(values)} and {len(clusters)}")
    mean, weights = sum(values) / len(values), _weights(clusters)
    if len(weights) < FEWEST_CLUSTERS or effective(clusters) < FEWEST_CLUSTERS - _ROUNDED:
        return Mean(mean, None, None, len(values), len(weights))
    sums = dict.fromkeys(weights, 0.0)
    for value, cluster in zip(values, clusters, strict=True):
        sums[cluster] += (value - mean) / len(values)
    error = math.sqrt(sum(each**2 / (1 - weights[name]) for name, each in sums.items()))
    freedom = _freedom(list(weights.values()))
    if error <= _NOTHING:
        return Mean(mean, 0.0, None, len(values), len(weights), freedom)
    reach = student_quantile((1 + confidence) / 2, freedom) * error
    return Mean(mean, error, Interval(mean - reach, mean + reach), len(values), len(weights), freedom)


def clustered_share(
    values: Sequence[float], clusters: Sequence[Hashable], confidence: float = CONFIDENCE
) -> Mean:
    """As `clustered_mean`, of scores from 0 to 1: the interval stays there.

    Of scores that are 0 or 1 it is Wilson's, of as many independent questions as would have this error. Where
    all are 0, or all 1, there is no error, and it is that of the nearest answers that have one: of a single
    success, or failure, in the largest cluster. The bound is then never beyond those of one success more.
    With clusters of one size this is a design effect of 1, which is the rule for such shares of the US
    National Center for Health Statistics (Parker et al., Vital and Health Statistics 2(175), 2017).
    """
    found = clustered_mean(values, clusters, confidence)
    if found.error is None:
        return found
    if all(value in (0.0, 1.0) for value in values) and (found.interval or found.value in (0.0, 1.0)):
        near = found if found.error else clustered_mean(_single(clusters), clusters)
        trials = _trials(near, confidence)
        return replace(found, interval=wilson(found.value * trials, trials, confidence))
    return replace(found, interval=found.interval and _within(found.interval, 0.0, 1.0))


def _trials(found: Mean, confidence: float) -> float:
    """By Korn and Graubard, with their degrees of freedom; never more than questions."""
    assert found.error
    assert found.freedom is not None
    share = (1 + confidence) / 2
    known = (_NORMAL.inv_cdf(share) / student_quantile(share, found.freedom)) ** 2
    return min(found.questions, known * found.value * (1 - found.value) / found.error**2)


def _single(clusters: Sequence[Hashable]) -> list[float]:
    """One success, where it has the smallest error."""
    ((largest, _),) = Counter(clusters).most_common(1)
    values = [0.0] * len(clusters)
    values[clusters.index(largest)] = 1.0
    return values


def _weights(clusters: Sequence[Hashable]) -> dict[Hashable, float]:
    """Each cluster's share of the questions."""
    return {name: size / len(clusters) for name, size in Counter(clusters).items()}


def _freedom(weights: Sequence[float]) -> float:
    """Bell and McCaffrey's degrees of freedom of a mean's error: (tr P)² / tr P².

    P is the covariance of the clusters' deviations if all questions are independent: weights on its diagonal,
    and off it minus the root of two pulls' product.
    """
    pulls = [weight**2 / (1 - weight) for weight in weights]
    squares = sum(weight**2 for weight in weights) + sum(pulls) ** 2 - sum(pull**2 for pull in pulls)
    return round(1 / squares, 9)


def _within(interval: Interval, low: float, high: float) -> Interval:
    return Interval(max(low, interval.low), min(high, interval.high))


def effective(clusters: Sequence[Hashable]) -> float:
    """As how many clusters of one size these weigh: (Σn)² / Σn²."""
    return len(clusters) ** 2 / sum(size * size for size in Counter(clusters).values())


def paired(
    ours: Sequence[float], theirs: Sequence[float], clusters: Sequence[Hashable], *, reach: float = 1.0
) -> Difference:
    """Compares two systems on the same questions; the interval is that of `clustered_mean`, within bounds.

    Args:
        ours: One score for each question.
        theirs: The other system's scores, in the same order.
        clusters: The cluster of each question, such as its conversation.
        reach: The largest difference that there can be; 1 of scores from 0 to 1.

    Raises:
        ValueError: The three differ in length, or are empty.
    """
    differences = [a - b for a, b in zip(ours, theirs, strict=True)]
    found = clustered_mean(differences, clusters)
    return Difference(
        mean=found.value,
        interval=found.interval and _within(found.interval, -reach, reach),
        questions=found.questions,
        clusters=found.clusters,
        better=sum(each > 0 for each in differences),
        worse=sum(each < 0 for each in differences),
    )


def p_value(difference: Mean) -> float | None:
    """Two-sided p of a mean difference against none, by t over clusters; None where it has no error.

    Where all clusters differ by the same there is no error to go by: then it is the chance that so many fall
    on one side, 2 in 2^G.
    """
    if difference.error is None or difference.freedom is None:
        return None
    if not difference.error:
        return 1.0 if abs(difference.value) < _NOTHING else 2.0 ** (1 - difference.clusters)
    t = abs(difference.value) / difference.error
    return max(0.0, 2 * (1 - student_cdf(t, difference.freedom)))


def detectable_effect(difference: Mean, power: float = 0.8) -> float | None:
    """The smallest difference that would be seen so often with this error; None where there is no error.

    The error is taken as at least that of one question in disagreement, or nothing could be missed.
    """
    freedom = difference.freedom
    if difference.error is None or freedom is None:
        return None
    reach = student_quantile(1 - SIGNIFICANCE / 2, freedom) + student_quantile(power, freedom)
    return min(1.0, reach * max(difference.error, 1 / difference.questions))


def wilson(successes: float, trials: float, confidence: float = CONFIDENCE) -> Interval:
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
    low = max(0.0, middle - reach) if successes else 0.0
    return Interval(low, min(1.0, middle + reach) if successes < trials else 1.0)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Holm's step-down adjustment (1979) over comparisons that were all named beforehand; same order."""
    adjusted: dict[str, float] = {}
    highest = 0.0
    for done, (name, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        highest = max(highest, min(1.0, (len(p_values) - done) * p))
        adjusted[name] = highest
    return {name: adjusted[name] for name in p_values}


def detectable(
    questions: int, discordant: float = 0.2, *, power: float = 0.8, significance: float = SIGNIFICANCE
) -> float:
    """The smallest paired difference of shares that would be seen so often, if questions were independent.

    It plans a comparison; `detectable_effect` is of one that was made.

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


def student_cdf(t: float, freedom: float) -> float:
    """Share of Student's t distribution below `t`, between whole degrees of freedom by their reciprocals."""
    whole = int(freedom)
    if whole == freedom:
        return _student_cdf(t, whole)
    share = (whole + 1) * (1 - whole / freedom)
    return (1 - share) * _student_cdf(t, whole) + share * _student_cdf(t, whole + 1)


def _student_cdf(t: float, freedom: int) -> float:
    """Finite sums (Abramowitz & Stegun 26.7.3, 26.7.4)."""
    angle = math.atan(t / math.sqrt(freedom))
    sine, cosine = math.sin(angle), math.cos(angle)
    if freedom % 2:
        inner = angle + sine * cosine * _series(cosine, freedom // 2, 2) if freedom > 1 else angle
        return 0.5 + inner / math.pi
    return 0.5 + sine * _series(cosine, freedom // 2, 1) / 2


def unpaired(questions: int, *, share: float = 0.5, power: float = 0.8) -> float:
    """The smallest difference of two shares of different questions that would be seen so often.

    Args:
        questions: How many each share is of, independent of one another.
        share: About where both lie.
        power: How often it would be seen.
    """
    reach = _NORMAL.inv_cdf(1 - SIGNIFICANCE / 2) + _NORMAL.inv_cdf(power)
    return min(1.0, reach * math.sqrt(2 * share * (1 - share) / questions))


@cache
def student_quantile(share: float, freedom: float) -> float:
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
