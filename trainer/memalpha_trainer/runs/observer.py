"""What is kept and shown of a run while it trains: the observer between the trainer and the run's folder.

Of each collection the rollouts are written before they are trained on, what they earned after it, and of each
optimizer step one line of numbers: all of it before the step's checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from memalpha_trainer.credit.rewards import Rewards
from memalpha_trainer.credit.rows import Batch, Row
from memalpha_trainer.records import ChunkSample, Rollout
from memalpha_trainer.runs.credits import RolloutCredit, SampleCredit
from memalpha_trainer.runs.folder import RunFolder
from memalpha_trainer.runs.live import Progress
from memalpha_trainer.runs.reading import finite
from memalpha_trainer.runs.trackers import Tracker

Scored = Mapping[tuple[int, int, int], Sequence[float]]
"""The trainer's logprobs by group, index and place among the rollout's samples."""
# Where the time of a step goes; their sum is `seconds/step`.
_SECONDS = ("seconds/collect", "seconds/publish", "seconds/train")


class RunObserver:
    """An observer (`grpo.observer`) that writes to a run's folder, a tracker and the screen."""

    def __init__(self, folder: RunFolder, progress: Progress, tracker: Tracker) -> None:
        """All three stay the caller's to close."""
        self._folder = folder
        self._progress = progress
        self._tracker = tracker
        self._collected: tuple[Sequence[Rollout], Batch] | None = None
        self._pending: dict[str, float] = {}

    def collected(self, step: int, rollouts: Sequence[Rollout], batch: Batch) -> None:
        """Writes the rollouts of a collection."""
        self._folder.add_rollouts(rollouts)
        self._collected = rollouts, batch
        tokens = sum(len(sample.completion_ids) for each in rollouts for sample in each.samples)
        self._pending = {**batch.stats, "tokens/collected": float(tokens)}
        self._progress.phase(f"training on step {step + 1}")

    def scored(self, step: int, logprobs: Scored) -> None:
        """Writes what a collection earned."""
        if self._collected is not None:
            self._folder.add_credits(earned(*self._collected, logprobs))
            self._collected = None

    def stepped(self, step: int, numbers: Mapping[str, float]) -> None:
        """Writes and shows the numbers of an optimizer step."""
        told = {**self._pending, **numbers}
        self._pending = {}
        told["seconds/step"] = sum(told.get(name, 0.0) for name in _SECONDS)
        if tokens := told.pop("tokens/collected", 0.0):
            told["tokens/per_second"] = tokens / max(told.get("seconds/collect", 0.0), 1e-9)
        line = self._folder.add_metrics(step, told)
        self._folder.running(step)
        self._tracker.log(step, finite(line))
        self._progress.step(line)


def earned(rollouts: Sequence[Rollout], batch: Batch, scored: Scored) -> list[RolloutCredit]:
    """What each rollout of a collection earned, in the order that they were collected in.

    Args:
        rollouts: All of them.
        batch: What became of them.
        scored: A sample that was not passed over has no entry.
    """
    rows = iter(batch.rows)
    given = zip(batch.rollouts, batch.rewards, batch.advantages, strict=True)
    kept = {
        (rollout.group, rollout.index): _credit(rollout, rewards, advantages, rows, scored)
        for rollout, rewards, advantages in given
    }
    return [kept.get((each.group, each.index)) or _dropped(each) for each in rollouts]


def _credit(
    rollout: Rollout, rewards: Rewards, advantages: Sequence[float], rows: Iterator[Row], scored: Scored
) -> RolloutCredit:
    """Takes as many rows as the rollout's samples became: one for each that has tokens, in order."""
    made = []
    for place, sample in enumerate(rollout.samples):
        row = next(rows) if sample.completion_ids else None
        logprobs = scored.get((rollout.group, rollout.index, place), ())
        made.append(_sample(sample, row, _parts(rewards, place), logprobs))
    parts = {"answers": rewards.answers, "compression": rewards.compression}
    return RolloutCredit(rollout.step, rollout.group, rollout.index, rewards.total, parts, tuple(made))


def _sample(
    sample: ChunkSample, row: Row | None, parts: dict[str, float], logprobs: Sequence[float]
) -> SampleCredit:
    if row is None:
        return SampleCredit(0.0, parts, "empty")
    # Seven digits are what a float32 has.
    theirs = tuple(float(f"{each:.7g}") for each in logprobs)
    return SampleCredit(row.advantage, parts, "" if row.trained else "truncated", theirs)


def _parts(rewards: Rewards, place: int) -> dict[str, float]:
    """A sample's own; where rewards were exchanged there may be fewer of them than samples."""
    if not rewards.calls:
        return {}
    there = min(place, len(rewards.calls) - 1)
    return {"calls": rewards.calls[there], "content": rewards.content[there]}


def _dropped(rollout: Rollout) -> RolloutCredit:
    return RolloutCredit(rollout.step, rollout.group, rollout.index, 0.0, {}, (), dropped="stale")
