"""How far a judge can be believed: its share of known right answers accepted, and of known wrong ones.

The accuracy behind a judged score s is estimated as (s − FPR) / (TPR − FPR) (Rogan & Gladen 1978), with an
interval by the delta method that knows both rates as estimates. A judge that accepts wrong answers as often
as right ones tells nothing, and no accuracy comes of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

from memalpha.errors import UnsupportedError, make
from memalpha.tasks.stats import Interval
from memalpha_evals.statistics import wilson


@dataclass(frozen=True, slots=True)
class Rate:
    """Accepted answers of those that were judged."""

    accepted: int
    judged: int

    @property
    def share(self) -> float:
        """From 0 to 1."""
        return self.accepted / self.judged

    @property
    def interval(self) -> Interval:
        """Wilson's, 95 %."""
        return wilson(self.accepted, self.judged)

    @property
    def variance(self) -> float:
        """Of the share, with one answer of each kind added so that no rate is without error."""
        share = (self.accepted + 1) / (self.judged + 2)
        return share * (1 - share) / self.judged


@dataclass(frozen=True, slots=True)
class Corrected:
    """An accuracy behind a judged score."""

    value: float
    interval: Interval


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

    def corrected(self, score: float, error: float, confidence: float = 0.95) -> Corrected:
        """The accuracy behind a score.

        Args:
            score: Mean of a judge's verdicts.
            error: Its standard error.
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
        spread = error**2 + value**2 * self.right.variance + (1 - value) ** 2 * self.wrong.variance
        reach = NormalDist().inv_cdf((1 + confidence) / 2) * sqrt(spread) / gap
        return Corrected(value, Interval(max(0.0, value - reach), min(1.0, value + reach)))


@dataclass(frozen=True, slots=True)
class Judged:
    """One answer of which it is known whether it is right, and what the judge said."""

    source: str
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
    return Rate(sum(each.accepted for each in judged), len(judged))
