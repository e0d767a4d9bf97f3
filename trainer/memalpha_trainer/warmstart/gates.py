"""Whether a warm start is fit to be trained on: it writes calls, copies what it never saw, and leaves room.

Three gates are measured on sampled rollouts of streams whose names no training shows, in groups of the same
stream, as training is going to sample them. The fourth is a stop: a warm start that already does well on long
streams when it decodes greedily leaves nothing to be learned, and the task has to be another one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from memalpha.agent.protocols import Policy
from memalpha.tasks.instance import Instance
from memalpha.tasks.ledger import ledger
from memalpha_trainer.credit.groups import Group, mean
from memalpha_trainer.evaluation import evaluate, result
from memalpha_trainer.records import Rollout
from memalpha_trainer.rollouts.collect import Place, Setting
from memalpha_trainer.rollouts.live import Plan, Progress, rollouts
from memalpha_trainer.rollouts.policy import Sampling

_MALFORMED = "malformed_call"
_ABOUT = re.compile(r"(\w+)'s ")
_SAME = 1e-9
"""Scores this close are the same."""


@dataclass(frozen=True, slots=True)
class Bars:
    """What has to be reached.

    Attributes:
        parsed: Least share of calls that are understood, whether or not they can be carried out.
        copied: Least share of written memories that are about a name of their chunk, letter by letter.
        spread: Least share of groups whose answers do not all score the same.
        greedy: The normalised score on the longest streams, decoded greedily, that must not be reached.
    """

    parsed: float = 0.98
    copied: float = 0.97
    spread: float = 0.8
    greedy: float = 0.6


@dataclass(frozen=True, slots=True)
class Trial:
    """What is read for it.

    Attributes:
        groups: Streams of one unit, each read by `size` rollouts.
        streams: Streams of `units` units, each read once, greedily.
        max_tokens: Most tokens about a chunk.
        concurrency: Rollouts at once.
        first: Number of the first stream; evaluation reports should use others.
    """

    groups: int = 20
    size: int = 8
    streams: int = 20
    units: int = 13
    max_tokens: int = 64
    concurrency: int = 64
    first: int = 1_000_000
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Gate:
    """One number, and what it has to be."""

    name: str
    value: float
    bar: float
    stop: bool = False

    @property
    def passed(self) -> bool:
        """At least the bar; of a stop, below it. What is no number has not passed."""
        return self.value < self.bar if self.stop else self.value >= self.bar


async def entry(
    policy: Policy,
    setting: Setting,
    bars: Bars = Bars(),
    trial: Trial = Trial(),
    progress: Progress = lambda done, of: None,
) -> list[Gate]:
    """All gates of a policy.

    Args:
        policy: The warm start, served.
        setting: As in training; its reader answers the ledger.
        bars: What has to be reached.
        trial: How it is measured.
        progress: Is told of each rollout.

    Raises:
        MemalphaError: The policy cannot be had.
    """
    sampled = await _sampled(policy, setting, trial, progress)
    greedy = await _greedy(policy, setting, trial, progress)
    made = [rollout for _, rollout in sampled]
    return [
        Gate("parsed", parsed(made), bars.parsed),
        Gate("copied", copied(sampled), bars.copied),
        Gate("spread", spread(made), bars.spread),
        Gate(f"greedy at {trial.units}x", greedy, bars.greedy, stop=True),
    ]


def parsed(made: Sequence[Rollout]) -> float:
    """Share of calls that are understood; 0 if there is none."""
    errors = [each.error for rollout in made for sample in rollout.samples for each in sample.operations]
    return sum(error != _MALFORMED for error in errors) / len(errors) if errors else 0.0


def copied(made: Sequence[tuple[Instance, Rollout]]) -> float:
    """Share of inserts and updates that begin with a name of their chunk; 0 if there is none."""
    found = [
        _names_one(operation.content, instance.chunks[sample.chunk].text)
        for instance, rollout in made
        for sample in rollout.samples
        for operation in sample.operations
        if operation.kind in ("insert", "update")
    ]
    return sum(found) / len(found) if found else 0.0


def _names_one(content: str, chunk: str) -> bool:
    match = _ABOUT.match(content)
    return match is not None and match[1] in re.findall(r"\w+", chunk)


def spread(made: Sequence[Rollout]) -> float:
    """Share of groups whose answers do not all score the same; 0 if there is no group."""
    groups: dict[Group, list[float]] = {}
    for each in made:
        groups.setdefault((each.step, each.group), []).append(mean([answer.score for answer in each.answers]))
    found = [max(scores) - min(scores) > _SAME for scores in groups.values()]
    return sum(found) / len(found) if found else 0.0


async def _sampled(
    policy: Policy, setting: Setting, trial: Trial, progress: Progress
) -> list[tuple[Instance, Rollout]]:
    places = [
        (ledger(trial.first + group, split="eval"), Place(trial.seed, 0, group, index))
        for group in range(trial.groups)
        for index in range(trial.size)
    ]
    plan = Plan(trial.seed, trial.size, trial.concurrency, Sampling(1.0, trial.max_tokens))
    made = await rollouts(policy, await policy.describe(), setting, places, plan, progress)
    return [(instance, rollout) for (instance, _), rollout in zip(places, made, strict=True)]


async def _greedy(policy: Policy, setting: Setting, trial: Trial, progress: Progress) -> float:
    streams = [ledger(trial.first + number, trial.units, split="eval") for number in range(trial.streams)]
    plan = Plan(trial.seed, 1, trial.concurrency, Sampling(0.0, trial.max_tokens))
    scores = await evaluate(policy, await policy.describe(), setting, streams, plan, progress)
    return (await result("greedy", scores, setting, streams, plan)).mean
