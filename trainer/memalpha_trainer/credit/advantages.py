"""How much better than its group each sample did: rewards to advantages, before any row is made.

`mem_alpha` (arXiv 2509.25911): a row's reward is r1 and r3 of its rollout with r2 and r4 of its own; it is
compared with all rows of the group. `trajectory`: a rollout's reward, its r2 and r4 averaged, is compared
with those of the group, and all its rows have the same advantage. `per_chunk`: as `mem_alpha`, compared with
the rows of the same chunk. `evidence`: what of the rollout's reward is owed to the chunk, compared with the
rows of the same chunk (Fine-Mem, arXiv 2601.08435).

The baseline is the mean of what a row is compared with. With `scale` the difference is divided by the
standard deviation (ddof 1) + 1e-6 of the same rewards. Where they are all alike, advantages are 0.

`evidence` differs from its paper so that chunks can be compared fairly:

- **Everything is divided, nothing multiplied.** r1 goes to chunks as `credit.evidence` says, r3 by the tokens
  that a chunk added, r2 and r4 in equal parts. So the rewards of a rollout's samples sum to the rollout's,
  and the weights of the parts mean the same as in the other modes.
- **A chunk that nobody's answer rests on gets nothing of r1.** Its part of what goes to all chunks is left
  out: it would be the luck of others. Its own calls, tokens and contents still count.
- **One scale for the group**, the root of the mean variance of its chunks. A deviation of its own for each
  chunk would blow a few saved tokens up to the size of an answer wherever no question is asked, and teach to
  write nothing, all the more the longer the stream.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import sqrt

from memalpha_trainer.config import CreditTable
from memalpha_trainer.credit.evidence import Owed, split, touched
from memalpha_trainer.credit.groups import deviation, mean, positions
from memalpha_trainer.credit.rewards import Rewards

EPS = 1e-6
_ALIKE = 1e-12

Advantages = tuple[float, ...]
"""Of one rollout, one for each sample."""
Values = Sequence[Sequence[float]]
"""Of one group: one number for each sample of each rollout."""


def compute_advantages(rewards: Sequence[Rewards], credit: CreditTable) -> list[Advantages]:
    """The advantages of rollouts, one tuple for each, in their order; groups need not stand together.

    Args:
        rewards: Whole groups.
        credit: Mode and scaling.
    """
    found: list[Advantages] = [()] * len(rewards)
    for members in positions(each.group for each in rewards):
        advantages = _MODES[credit.mode]([rewards[each] for each in members], credit)
        for member, values in zip(members, advantages, strict=True):
            found[member] = tuple(values)
    return found


def _mem_alpha(group: Sequence[Rewards], credit: CreditTable) -> Values:
    values = [each.by_sample for each in group]
    rows = [value for each in values for value in each]
    compared = iter(_compared(rows, scale=credit.scale))
    return [[next(compared) for _ in each] for each in values]


def _trajectory(group: Sequence[Rewards], credit: CreditTable) -> Values:
    compared = _compared([each.total for each in group], scale=credit.scale)
    return [[value] * len(each.chunks) for each, value in zip(group, compared, strict=True)]


def _per_chunk(group: Sequence[Rewards], credit: CreditTable) -> Values:
    values = [list(each.by_sample) for each in group]
    for places in _by_chunk(group):
        _put(values, places, _compared(_taken(values, places), scale=credit.scale))
    return values


def _evidence(group: Sequence[Rewards], credit: CreditTable) -> Values:
    values = _owed(group, credit)
    for places in _by_chunk(group):
        _put(values, places, _compared(_taken(values, places), scale=False))
    if not credit.scale:
        return values
    spreads = [deviation(_taken(values, places)) ** 2 for places in _by_chunk(group) if len(places) > 1]
    scale = sqrt(mean(spreads)) + EPS
    return [[value / scale for value in each] for each in values]


_MODES: dict[str, Callable[[Sequence[Rewards], CreditTable], Values]] = {
    "mem_alpha": _mem_alpha,
    "trajectory": _trajectory,
    "per_chunk": _per_chunk,
    "evidence": _evidence,
}


def _compared(values: Sequence[float], *, scale: bool) -> list[float]:
    """Differences to their mean, in standard deviations with `scale`; zeros where all are alike."""
    if not values or max(values) - min(values) <= _ALIKE:
        return [0.0] * len(values)
    middle = mean(values)
    divisor = deviation(values) + EPS if scale else 1.0
    return [(value - middle) / divisor for value in values]


def _owed(group: Sequence[Rewards], credit: CreditTable) -> list[list[float]]:
    """What of its rollout's reward each sample is owed; that of r1 only where answers rest on its chunk.

    Of a chunk that was tried again, the last sample has the answers: its operations are the ones that count.
    """
    owed = [Owed(each.credits, tuple(dict.fromkeys(each.chunks))) for each in group]
    asked = touched(owed)
    values = []
    parts = split(owed, credit.evidence_share, handover=credit.handover)
    for each, shares in zip(group, parts, strict=True):
        own = [
            each.weights.compression * growth + local / len(each.chunks)
            for growth, local in zip(each.growth, each.local, strict=True)
        ]
        for chunk, place in {chunk: place for place, chunk in enumerate(each.chunks)}.items():
            own[place] += each.weights.answers * shares[chunk] if chunk in asked else 0.0
        values.append(own)
    return values


Places = list[tuple[int, int]]
"""Rollout and sample."""


def _by_chunk(group: Sequence[Rewards]) -> list[Places]:
    """The samples of each chunk over the group."""
    found: dict[int, Places] = {}
    for rollout, each in enumerate(group):
        for place, chunk in enumerate(each.chunks):
            found.setdefault(chunk, []).append((rollout, place))
    return list(found.values())


def _taken(values: Values, places: Places) -> list[float]:
    return [values[rollout][place] for rollout, place in places]


def _put(values: list[list[float]], places: Places, compared: Sequence[float]) -> None:
    for (rollout, place), value in zip(places, compared, strict=True):
        values[rollout][place] = value
