"""Held-out evaluation: the served policy reads streams it was never trained on, and its memories are asked.

Greedy decoding is what a user gets and what is reported first. Of the ledger the score lies between the empty
memory (0) and the oracle (1), both written and read by the same path; of other tasks it is the mean score of
the answers. Streams are clusters: questions about one are not independent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from memalpha.agent.protocols import Policy
from memalpha.api.policy.v1alpha1.policy_service_pb2 import GetPolicyResponse
from memalpha.tasks.instance import Instance
from memalpha.tasks.ledger.stream import SOURCE as LEDGER
from memalpha.tasks.ledger.writers import Teacher
from memalpha.tasks.stats import Interval, normalised, paired_difference
from memalpha.tasks.writers import Empty, ScriptedPolicy, Writer
from memalpha_trainer.records import Answered, Rollout
from memalpha_trainer.rollouts.collect import Place, Setting
from memalpha_trainer.rollouts.live import Plan, Progress, rollouts

BOOTSTRAP_SAMPLES = 2000
CONFIDENCE = 0.95
MakeWriter = Callable[[float], Writer]
"""Makes a scripted writer, given the share of a stream's tokens that the oracle stores."""
_STEP = -1
"""Stands for evaluation in seeds and records: no training step has it."""


@dataclass(frozen=True, slots=True)
class Scores:
    """One row's answers on the same questions as every other row's, and what its memories cost.

    Attributes:
        instances: Of each question, its instance.
        kinds: Of each question, the group it is averaged in.
        scores: Of each question, 0 to 1.
        memory_tokens: Mean o200k tokens of a final memory.
        calls: Mean calls of a rollout, and the share that was carried out.
        reward: Mean of the user's own rewards, where the task has one.
    """

    instances: tuple[str, ...]
    kinds: tuple[str, ...]
    scores: tuple[float, ...]
    memory_tokens: float
    calls: float
    applied: float
    reward: float | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """A row's place: `mean` is normalised where floor and ceiling are known."""

    name: str
    mean: float
    interval: Interval | None
    normalised: bool
    by_kind: dict[str, float]
    scores: Scores

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Self:
        """What `asdict` was given, after a way through JSON."""
        interval = Interval(**raw["interval"]) if raw["interval"] else None
        lists = {name: tuple(raw["scores"][name]) for name in ("instances", "kinds", "scores")}
        return cls(**{**raw, "interval": interval, "scores": Scores(**{**raw["scores"], **lists})})


async def evaluate(
    policy: Policy,
    description: GetPolicyResponse,
    setting: Setting,
    instances: Sequence[Instance],
    plan: Plan,
    progress: Progress = lambda done, of: None,
) -> Scores:
    """One rollout of each instance; a chunk that is parked makes its instance's answers wrong.

    Args:
        policy: Reads.
        description: Of it.
        setting: As in training.
        instances: Not trained on.
        plan: Its sampling decides whether decoding is greedy.
        progress: Is told of each rollout.
    """
    places = [(each, Place(plan.seed, _STEP, number, 0)) for number, each in enumerate(instances)]
    done = await rollouts(policy, description, setting, places, plan, progress)
    return _scores(instances, done)


async def scripted(writer: MakeWriter, setting: Setting, instances: Sequence[Instance], plan: Plan) -> Scores:
    """As `evaluate`, of a scripted writer in place of a policy, a new one for each instance."""
    oracle = await _written(lambda share: Teacher(), [1.0] * len(instances), setting, instances, plan)
    shares = [each.memory_tokens / each.stream_tokens for each in oracle]
    return _scores(instances, await _written(writer, shares, setting, instances, plan))


async def _written(
    writer: MakeWriter,
    shares: Sequence[float],
    setting: Setting,
    instances: Sequence[Instance],
    plan: Plan,
) -> list[Rollout]:
    words = {"wire_format": "lines", "prompt_pack": "short"}
    theirs = replace(setting, agent=setting.agent.model_copy(update=words))
    done = []
    for number, (each, share) in enumerate(zip(instances, shares, strict=True)):
        policy = ScriptedPolicy("scripted", writer(share))
        place = Place(plan.seed, _STEP, number, 0)
        done += await rollouts(policy, await policy.describe(), theirs, [(each, place)], plan)
    return done


async def result(
    name: str, scores: Scores, setting: Setting, instances: Sequence[Instance], plan: Plan
) -> Result:
    """A row's place between floor and ceiling if the instances are the ledger's, else the mean of its scores.

    The mean it is too where the reader does not tell ceiling from floor, as an untrained model does not.
    """
    by_kind = {kind: _mean_of(scores, kind) for kind in dict.fromkeys(scores.kinds)}
    if not scores.scores:
        return Result(name, scores.reward or 0.0, None, False, by_kind, scores)
    if all(each.source == LEDGER for each in instances):
        floor = await scripted(lambda share: Empty(), setting, instances, plan)
        ceiling = await scripted(lambda share: Teacher(), setting, instances, plan)
        if sum(floor.scores) < sum(ceiling.scores):
            between = floor.scores, ceiling.scores
            place = normalised(scores.scores, *between, scores.instances, **_bootstrap(plan))
            return Result(name, place.mean, place.interval, True, by_kind, scores)
    nothing = [0.0] * len(scores.scores)
    mean = paired_difference(scores.scores, nothing, scores.instances, **_bootstrap(plan))
    return Result(name, mean.mean, mean.interval, False, by_kind, scores)


def _bootstrap(plan: Plan) -> dict[str, Any]:
    return {"samples": BOOTSTRAP_SAMPLES, "confidence": CONFIDENCE, "seed": plan.seed}


def _scores(instances: Sequence[Instance], done: Sequence[Rollout]) -> Scores:
    asked = [
        (instance.instance_id, question.kind, score)
        for instance, rollout in zip(instances, done, strict=True)
        for question, score in zip(instance.questions, _of(rollout, len(instance.questions)), strict=False)
    ]
    calls = [operation for each in done for sample in each.samples for operation in sample.operations]
    rewards = [each.reward for each in done if each.reward is not None]
    return Scores(
        instances=tuple(name for name, _, _ in asked),
        kinds=tuple(kind for _, kind, _ in asked),
        scores=tuple(score for _, _, score in asked),
        memory_tokens=float(np.mean([each.memory_tokens for each in done])),
        calls=len(calls) / len(done),
        applied=sum(each.applied for each in calls) / len(calls) if calls else 1.0,
        reward=float(np.mean(rewards)) if rewards else None,
    )


def _of(rollout: Rollout, questions: int) -> list[float]:
    answers: tuple[Answered, ...] = rollout.answers
    return [0.0] * questions if rollout.failure else [each.score for each in answers]


def _mean_of(scores: Scores, kind: str) -> float:
    found = [score for each, score in zip(scores.kinds, scores.scores, strict=True) if each == kind]
    return float(np.mean(found))
