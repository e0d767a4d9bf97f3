"""One rollout: a stream read by the policy in a bank of its own, its questions answered, all of it on record.

A policy that is not to be had for a while costs time and nothing else: the rollout begins again in a new bank
with the same seeds, so that what comes out is what would have come out. A policy whose text means nothing, or
whose chunk is parked, has written a rollout like any other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import groupby
from numbers import Real

import memcore
from memalpha.agent import AgentSettings, Policy
from memalpha.agent.loop import ChunkOutcome
from memalpha.agent.protocols import Completion
from memalpha.api.agent.v1alpha1.agent_service_pb2 import ChunkState
from memalpha.api.memory.v1alpha1.memory_pb2 import BankSettings
from memalpha.api.policy.v1alpha1.policy_service_pb2 import FinishReason, GetPolicyResponse
from memalpha.errors import InvalidInputError, make
from memalpha.tasks.instance import Instance
from memalpha.tasks.memorized import Memorized, memorize
from memalpha_trainer.records import Answered, ChunkSample, Rollout, Span
from memalpha_trainer.rollouts.policy import RolloutPolicy, Sampling
from memalpha_trainer.rollouts.readers import Reader
from memalpha_trainer.rollouts.trace import Trace, stream_tokens

Reward = Callable[[Rollout, Instance], float]
"""A user's own reward, 0 to 1, of a finished rollout; one that failed is not scored."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What the rollouts of a run have in common.

    Attributes:
        agent: What the policy is shown.
        bank: Of each rollout's bank.
        reader: Answers the questions.
        reward: The user's own reward, if there is one.
    """

    agent: AgentSettings
    bank: BankSettings
    reader: Reader
    reward: Reward | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a rollout belongs; with the run's seed it decides every token."""

    seed: int
    step: int
    group: int
    index: int


async def rollout(
    store: memcore.Store,
    instance: Instance,
    policy: Policy,
    description: GetPolicyResponse,
    setting: Setting,
    place: Place,
    sampling: Sampling,
    version: int = 0,
) -> Rollout:
    """Makes one rollout.

    Args:
        store: In memory.
        instance: What is read and asked.
        policy: Who writes.
        description: Of the policy.
        setting: How.
        place: Decides the seeds, and goes on record.
        sampling: How completions are drawn.
        version: Of the oldest weights that may write it.

    Raises:
        MemalphaError: Policy, memory or reader answered with an error, or could not be had.
    """
    seeds = (place.seed, place.step, place.group, place.index)
    ours = RolloutPolicy(policy, description, seeds, sampling, version)
    done = await memorize(store, instance, ours, setting.agent, setting.bank)
    trace = Trace()
    samples = _samples(done, ours.drawn, trace)
    failure = _failure(done)
    answers = () if failure else await setting.reader.answers(instance, done, trace)
    record = _record(instance, place, samples, answers, trace, failure)
    if setting.reward is None or failure:
        return record
    return replace(record, reward=_checked(setting.reward(record, instance), instance))


def _checked(value: object, instance: Instance) -> float:
    """A user's reward as a number; what is none would be taken for another reward, or end in NaN."""
    if isinstance(value, Real) and 0 <= float(value) <= 1:
        return float(value)
    message = f"the reward of {instance.instance_id} must be a number from 0 to 1, not {value!r:.100}"
    raise make(InvalidInputError, "INVALID_REWARD", message, instance_id=instance.instance_id)


def _record(
    instance: Instance,
    place: Place,
    samples: tuple[ChunkSample, ...],
    answers: tuple[Answered, ...],
    trace: Trace,
    failure: str,
) -> Rollout:
    return Rollout(
        step=place.step,
        group=place.group,
        index=place.index,
        instance_id=instance.instance_id,
        source=instance.source,
        samples=samples,
        answers=answers,
        memory_tokens=trace.tokens,
        stream_tokens=stream_tokens([chunk.text for chunk in instance.chunks]),
        failure=failure,
    )


def _samples(done: Memorized, seeds: list[int], trace: Trace) -> tuple[ChunkSample, ...]:
    """One for each completion; a prompt that was refused before anything was drawn has none."""
    drawn = [outcome for outcome in done.outcomes if outcome.completion is not None]
    return tuple(_sample(outcome, seed, trace) for outcome, seed in zip(drawn, seeds, strict=True))


def _sample(outcome: ChunkOutcome, seed: int, trace: Trace) -> ChunkSample:
    completion = outcome.completion
    assert completion is not None
    operations = trace.tell(outcome.chunk.position, outcome)
    return ChunkSample(
        chunk=outcome.chunk.position,
        prompt=outcome.prompt.messages[-1].content,
        text=completion.text,
        prompt_ids=completion.prompt_token_ids,
        completion_ids=completion.token_ids,
        logprobs=completion.logprobs,
        versions=_spans(completion),
        seed=seed,
        finished=completion.finish_reason == FinishReason.FINISH_REASON_STOP,
        operations=operations,
        memory_tokens=trace.tokens,
        failure=outcome.failure,
    )


def _spans(completion: Completion) -> tuple[Span, ...]:
    return tuple(Span(version, len(list(run))) for version, run in groupby(completion.versions))


def _failure(done: Memorized) -> str:
    last = done.outcomes[-1] if done.outcomes else None
    if last is None or last.state == ChunkState.CHUNK_STATE_MEMORIZED:
        return ""
    return f"chunk {last.chunk.position} is parked: {last.failure}"
