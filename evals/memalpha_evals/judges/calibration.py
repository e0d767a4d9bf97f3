"""How far a judge can be believed: its share of known right answers accepted, and of known wrong ones.

The accuracy behind a judged score s is estimated as (s − FPR) / (TPR − FPR) (Rogan & Gladen 1978), with an
interval by the delta method that knows both rates as estimates. A judge that accepts wrong answers as often
as right ones tells nothing, and no accuracy comes of it. Answers about one conversation are not
independent: a rate is as good as one of so many independent answers as have its clustered error (Kish's
effective size), and below `FEWEST_CLUSTERS` clusters it has no interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

from memalpha.errors import UnsupportedError, make
from memalpha.tasks.stats import Interval
from memalpha_evals.statistics import Mean, clustered_mean, wilson


@dataclass(frozen=True, slots=True)
class Rate:
    """Accepted answers of those that were judged.

    Attributes:
        accepted: Answers.
        judged: Answers.
        clusters: Conversations that they are about.
        effective: As many independent answers would tell as much; None below `FEWEST_CLUSTERS` clusters.
    """

    accepted: int
    judged: int
    clusters: int
    effective: float | None

    @property
    def share(self) -> float:
        """From 0 to 1."""
        return self.accepted / self.judged

    @property
    def interval(self) -> Interval | None:
        """Wilson's, 95 %."""
        return wilson(self.share * self.effective, self.effective) if self.effective else None

    @property
    def variance(self) -> float | None:
        """Of the share, with one answer of each kind added so that no rate is without error."""
        if self.effective is None:
            return None
        share = (self.share * self.effective + 1) / (self.effective + 2)
        return share * (1 - share) / self.effective


@dataclass(frozen=True, slots=True)
class Corrected:
    """An accuracy behind a judged score; no interval where one of what it is made of has none."""

    value: float
    interval: Interval | None


@dataclass(frozen=True, slots=True)
class Calibration:
    """A judge's rates.

    Attributes:
        right: Of known right answers: the true positive rate.
        wrong: Of known wrong answers: the false positive rate.
        by_source: The false positive rate of each file of wrong answers.
        unread: Votes that could not be read.
    """

    right: Rate
    wrong: Rate
    by_source: dict[str, Rate]
    unread: int

    def corrected(self, score: float, error: float | None, confidence: float = 0.95) -> Corrected:
        """The accuracy behind a score.

        Args:
            score: Mean of a judge's verdicts.
            error: Its standard error; None: it is not known.
            confidence: Of the interval.

        Raises:
            UnsupportedError: JUDGE_USELESS.
        """
        gap = self.right.share - self.wrong.share
        if gap <= 0:
            message = (
                f"this judge accepts {self.wrong.share:.1%} of wrong answers and {self.right.share:.1%} of "
                "right ones: no accuracy follows from its scores"
            )
            raise make(UnsupportedError, "JUDGE_USELESS", message)
        value = min(1.0, max(0.0, (score - self.wrong.share) / gap))
        right, wrong = self.right.variance, self.wrong.variance
        if error is None or right is None or wrong is None:
            return Corrected(value, None)
        spread = error**2 + value**2 * right + (1 - value) ** 2 * wrong
        reach = NormalDist().inv_cdf((1 + confidence) / 2) * sqrt(spread) / gap
        return Corrected(value, Interval(max(0.0, value - reach), min(1.0, value + reach)))


@dataclass(frozen=True, slots=True)
class Judged:
    """One answer of which it is known whether it is right, and what the judge said."""

    source: str
    cluster: str
    right: bool
    accepted: bool
    unread: int


def calibration(judged: Sequence[Judged]) -> Calibration:
    """The rates of a judge.

    Raises:
        UnsupportedError: JUDGE_USELESS; no right answers, or no wrong ones, were judged.
    """
    right, wrong = ([each for each in judged if each.right is kind] for kind in (True, False))
    if not right or not wrong:
        message = f"a calibration must have right and wrong answers, not {len(right)} and {len(wrong)}"
        raise make(UnsupportedError, "JUDGE_USELESS", message)
    sources = dict.fromkeys(each.source for each in wrong)
    by_source = {name: _rate([each for each in wrong if each.source == name]) for name in sources}
    return Calibration(_rate(right), _rate(wrong), by_source, sum(each.unread for each in judged))


def _rate(judged: Sequence[Judged]) -> Rate:
    found = clustered_mean([float(each.accepted) for each in judged], [each.cluster for each in judged])
    return Rate(sum(each.accepted for each in judged), found.questions, found.clusters, _effective(found))


def _effective(found: Mean) -> float | None:
    """Never more than there are; all of them where the share is 0 or 1, whose spread says nothing."""
    if found.error is None:
        return None
    spread = found.value * (1 - found.value)
    return min(found.questions, spread / found.error**2) if found.error else found.questions
