"""Rows of training: one for each sample that has tokens, with its advantage and its weight in the loss.

`rows` is the whole way from rollouts to a batch: stale groups out, rewards, advantages of whole groups, and
only then rows. Token ids and logprobs pass through untouched. Nothing is lost without being counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from memalpha_trainer.config import Config, CreditTable
from memalpha_trainer.credit.advantages import Advantages, compute_advantages
from memalpha_trainer.credit.content import ContentCheck
from memalpha_trainer.credit.groups import positions
from memalpha_trainer.credit.rewards import Rewards, assign_rewards
from memalpha_trainer.credit.summary import summary
from memalpha_trainer.records import Rollout

Key = tuple[int, int]
"""Of a rollout within its step: group and index."""
STALE, EMPTY = "stale", "empty"


@dataclass(frozen=True, slots=True)
class Row:
    """One sample as the trainer sees it.

    Attributes:
        logprobs: Of the completion's tokens, under the distribution that they were sampled from.
        advantage: Of each of its tokens.
        trained: False if it is masked: it counts for no gradient and no normaliser.
        weight: Of each of its tokens in the loss; over the trained tokens of a batch it averages to 1.
        rollout: Group and index of its rollout.
        chunk: The sample's.
        sample: Its place among its rollout's samples; a chunk that was tried again has several.
    """

    prompt_ids: tuple[int, ...]
    completion_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    advantage: float
    trained: bool
    weight: float
    rollout: Key
    chunk: int
    sample: int


@dataclass(frozen=True, slots=True)
class Batch:
    """What a step is trained on.

    Attributes:
        rows: In the order of rollouts and samples.
        dropped: Samples that became no rows, by reason: too old weights drew a token of their group
            (`stale`), or they have no token (`empty`).
        stats: Numbers for the log.
        rollouts: Those that were not dropped.
        rewards: Theirs.
        advantages: Theirs, for each sample.
    """

    rows: tuple[Row, ...]
    dropped: dict[str, int]
    stats: dict[str, float]
    rollouts: tuple[Rollout, ...]
    rewards: tuple[Rewards, ...]
    advantages: tuple[Advantages, ...]


def rows(
    rollouts: Sequence[Rollout],
    config: Config,
    seed_step: int,
    *,
    version: int | None = None,
    check: ContentCheck | None = None,
) -> Batch:
    """The batch of a step.

    Args:
        rollouts: Whole groups.
        config: Its rewards, credit and staleness bound are applied.
        seed_step: The step; with the run's seed it decides the exchange of `rewards.shuffled`.
        version: Of the newest weights; None lets rollouts be as old as they are.
        check: Judges contents, for r4.
    """
    kept, stale = list(rollouts), 0
    if version is not None:
        kept, stale = fresh(rollouts, version, config.rollouts.max_staleness)
    seed = (config.seed << 32) + seed_step
    rewards = assign_rewards(kept, config.rewards, check=check, seed=seed)
    advantages = compute_advantages(rewards, config.credit)
    made, empty = expand_rows(kept, advantages, config.credit)
    dropped = {STALE: stale, EMPTY: empty}
    stats = summary(kept, rewards, advantages) | _counts(made, dropped)
    return Batch(made, dropped, stats, tuple(kept), tuple(rewards), tuple(advantages))


def fresh(rollouts: Sequence[Rollout], version: int, max_staleness: int) -> tuple[list[Rollout], int]:
    """The rollouts of groups without a token of too old weights, and the number of samples of the others.

    A group goes as a whole: its rest would be compared with a baseline of fewer.

    Args:
        rollouts: Whole groups.
        version: Of the newest weights.
        max_staleness: How many versions older a token's weights may be.
    """
    old: set[int] = set()
    for members in positions((each.step, each.group) for each in rollouts):
        if any(_oldest(rollouts[each], version) < version - max_staleness for each in members):
            old.update(members)
    kept = [each for place, each in enumerate(rollouts) if place not in old]
    return kept, sum(len(rollouts[place].samples) for place in old)


def expand_rows(
    rollouts: Sequence[Rollout], advantages: Sequence[Advantages], credit: CreditTable
) -> tuple[tuple[Row, ...], int]:
    """One row for each sample with tokens, and the number of samples without.

    Args:
        rollouts: In the order that rows shall have.
        advantages: One tuple for each rollout. Where rewards were exchanged it may be of another length; what
            is missing is its last one.
        credit: Weighting, and what becomes of truncated samples.
    """
    made, empty = list[Row](), 0
    for rollout, values in zip(rollouts, advantages, strict=True):
        for place, sample in enumerate(rollout.samples):
            if sample.completion_ids:
                advantage = values[min(place, len(values) - 1)] if values else 0.0
                made.append(_row(rollout, place, advantage, credit))
            else:
                empty += 1
    return (_by_rollout(made) if credit.weighting == "rollout" else tuple(made)), empty


def _row(rollout: Rollout, place: int, advantage: float, credit: CreditTable) -> Row:
    sample = rollout.samples[place]
    trained = sample.finished or credit.truncated == "keep"
    return Row(
        prompt_ids=sample.prompt_ids,
        completion_ids=sample.completion_ids,
        logprobs=sample.logprobs,
        advantage=advantage,
        trained=trained,
        weight=float(trained),
        rollout=(rollout.group, rollout.index),
        chunk=sample.chunk,
        sample=place,
    )


def _by_rollout(made: Sequence[Row]) -> tuple[Row, ...]:
    """The rows with one weight for all trained tokens of a rollout, and the same sum for each rollout."""
    tokens = Counter[Key]()
    for row in made:
        tokens[row.rollout] += len(row.completion_ids) * row.trained
    share = tokens.total() / max(sum(count > 0 for count in tokens.values()), 1)
    return tuple(replace(row, weight=share / tokens[row.rollout]) if row.trained else row for row in made)


def _oldest(rollout: Rollout, version: int) -> int:
    return min((sample.oldest for sample in rollout.samples if sample.versions), default=version)


def _counts(made: Sequence[Row], dropped: dict[str, int]) -> dict[str, float]:
    counts = {
        "rows/made": len(made),
        "rows/masked": sum(not row.trained for row in made),
        "rows/tokens": sum(len(row.completion_ids) for row in made if row.trained),
    } | {f"rows/dropped_{reason}": count for reason, count in dropped.items()}
    return {name: float(count) for name, count in counts.items()}
