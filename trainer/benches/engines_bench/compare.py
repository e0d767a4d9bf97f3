"""What runs of one configuration over two engines must have in common, and a run with itself, resumed.

Engines draw other tokens from the same seeds, so that single numbers differ; what is compared are means over
steps, each step with the same step of the other run, which read the same streams. All of the interval must
lie within what is allowed, so that a run of too few steps fails too. The bounds were set before any run over
`vllm` was made, by what chance alone does: two runs over `transformers` with different seeds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from memalpha.policy.served import largest
from memalpha.tasks.stats import paired_difference
from memalpha_trainer.records import Rollout

MOST_MISMATCH = 1e-3
"""Largest difference of a trained token's logprob, engine's to trainer's, at any step."""
LEAST_EQUAL = 0.999
"""Share of token ids that a run writes again once it was killed and resumed."""
# Of the mean of all steps. In the ledger's pilot the reward rises by .1 in 40 steps: half of that would be
# another curve. Trained tokens of two seeds are up to 8 % apart there.
ALLOWED = {"reward/total": (0.04, "absolute"), "rows/tokens": (0.1, "relative")}
_SAMPLES, _CONFIDENCE = 10_000, 0.95

Lines = Sequence[Mapping[str, Any]]
"""Lines of `metrics.jsonl`."""


@dataclass(frozen=True, slots=True)
class Curve:
    """Means over steps of one number in both runs, and of its paired differences.

    Attributes:
        ours, theirs: Means.
        difference: Of `ours - theirs`, step by step; `low` and `high` are its 95 % interval.
        allowed: How far from 0 both ends of the interval may be.
    """

    name: str
    steps: int
    ours: float
    theirs: float
    difference: float
    low: float
    high: float
    allowed: float

    @property
    def holds(self) -> bool:
        """Whether all of the interval is within what is allowed."""
        return max(-self.low, self.high) <= self.allowed


def curves(ours: Lines, theirs: Lines) -> list[Curve]:
    """Each number of `ALLOWED`, compared.

    Raises:
        ValueError: The runs have different steps, too few of them for an interval, or a number that is none.
    """
    if [line["step"] for line in ours] != [line["step"] for line in theirs]:
        raise ValueError(f"runs must have the same steps, but have {len(ours)} and {len(theirs)}")
    return [_curve(name, *_both(name, ours, theirs)) for name in ALLOWED]


def largest_mismatch(lines: Lines) -> float:
    """Of all tokens of all steps; infinite if a step's is no number, which a run writes down as null."""
    found = (line["mismatch/max"] for line in lines)
    return largest(math.nan if each is None else each for each in found)


def equal_share(ours: Iterable[Rollout], theirs: Iterable[Rollout], steps: range) -> tuple[float, int]:
    """The share of tokens that were written alike, place by place, and how many there are.

    Args:
        ours: Rollouts.
        theirs: Others of the same steps.
        steps: Those that are compared, counted from 0.
    """
    one, other = _written(ours, steps), _written(theirs, steps)
    equal = total = 0
    for key in one.keys() | other.keys():
        first, second = one.get(key, ()), other.get(key, ())
        equal += sum(a == b for a, b in zip(first, second, strict=False))
        total += max(len(first), len(second))
    return equal / total if total else 0.0, total


def _both(name: str, ours: Lines, theirs: Lines) -> tuple[list[float], list[float]]:
    found = [line[name] for line in ours], [line[name] for line in theirs]
    if None in (*found[0], *found[1]):
        raise ValueError(f"{name} is no number in some step")
    return found


def _curve(name: str, ours: list[float], theirs: list[float]) -> Curve:
    steps = range(len(ours))
    found = paired_difference(ours, theirs, steps, samples=_SAMPLES, confidence=_CONFIDENCE, seed=0)
    if found.interval is None:
        raise ValueError(f"{len(ours)} steps are too few for an interval")
    mean, other = sum(ours) / len(ours), sum(theirs) / len(theirs)
    bound, kind = ALLOWED[name]
    allowed = bound * abs(other) if kind == "relative" else bound
    interval = found.interval
    return Curve(name, len(ours), mean, other, found.mean, interval.low, interval.high, allowed)


def _written(rollouts: Iterable[Rollout], steps: range) -> dict[tuple[int, int, int, int], tuple[int, ...]]:
    return {
        (each.step, each.group, each.index, sample.chunk): sample.completion_ids
        for each in rollouts
        if each.step in steps
        for sample in each.samples
    }
