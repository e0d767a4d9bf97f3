"""Real rollouts of scripted writers: rewards in the order of what they know, blame where it belongs."""

import random
from collections.abc import Callable, Sequence
from functools import cache
from math import sqrt

import pytest

from memalpha.agent import wire
from memalpha.agent.prompts import read_prompt
from memalpha.tasks.ledger import ledger
from memalpha.tasks.ledger.writers import (
    GOOD_TEACHER,
    TEACHER,
    AllValues,
    CoreTable,
    Rates,
    Teacher,
)
from memalpha.tasks.writers import Empty, ScriptedPolicy, Verbatim, Writer
from memalpha_trainer.config import CreditTable, RewardTable
from memalpha_trainer.credit import Rewards, assign_rewards, compute_advantages
from memalpha_trainer.credit.groups import mean
from memalpha_trainer.records import Rollout
from memalpha_trainer.rollouts.collect import Place

from .support import made, written

STREAMS = 6


@cache
def reward(name: str) -> float:
    """Mean over the same streams."""
    rollouts = [written(WRITERS[name](), ledger(seed)) for seed in range(STREAMS)]
    return mean([each.total for each in assign_rewards(rollouts, RewardTable())])


@cache
def oracle_share() -> float:
    """Tokens of the oracle's memory over those of the stream."""
    rollouts = [written(Teacher(), ledger(seed)) for seed in range(STREAMS)]
    return mean([each.memory_tokens / each.stream_tokens for each in rollouts])


WRITERS: dict[str, Callable[[], Writer]] = {
    "oracle": Teacher,
    "teacher": lambda: Teacher(GOOD_TEACHER),
    "empty": Empty,
    "verbatim": lambda: Verbatim(oracle_share()),
    "all values": AllValues,
    "core table": CoreTable,
}


@pytest.mark.parametrize("cheat", ["empty", "verbatim", "all values", "core table"])
def test_knowing_pays_more_than_erring_and_erring_more_than_cheating(cheat: str) -> None:
    assert reward("oracle") > reward("teacher") > reward(cheat)


def test_without_answers_the_empty_memory_would_win() -> None:
    rollouts = [written(writer()) for writer in (WRITERS["empty"], WRITERS["oracle"])]
    empty, oracle = assign_rewards(rollouts, RewardTable(answers=0.0))
    assert empty.total > oracle.total


@cache
def group(seed: int, units: int, rates: Rates) -> tuple[list[Rollout], list[list[bool]]]:
    """Eight readings by a teacher, and for each chunk whether it did as the oracle would have."""
    rollouts = [
        made(ScriptedPolicy("t", Teacher(rates, seed=index)), ledger(seed, units), Place(0, 0, seed, index))
        for index in range(8)
    ]
    return rollouts, [[_is_right(each.prompt, each.text) for each in rollout.samples] for rollout in rollouts]


def _is_right(prompt: str, text: str) -> bool:
    return wire.get("lines").render(Teacher().calls(read_prompt(prompt))) == text


Credit = Callable[[Sequence[Rewards]], Sequence[Sequence[float]]]


def alignment(credit: Credit, *, units: int, rates: Rates, streams: int) -> float:
    """Cosine between advantages and what chunks did right, compared with the same chunk of the others."""
    advantages, deeds = list[float](), list[float]()
    for seed in range(streams):
        rollouts, right = group(seed, units, rates)
        found = credit(assign_rewards(rollouts, RewardTable()))
        for chunk, done in enumerate(zip(*right, strict=True)):
            advantages += [each[chunk] for each in found]
            deeds += [each - mean(done) for each in done]
    dot = sum(one * other for one, other in zip(advantages, deeds, strict=True))
    return dot / sqrt(sum(each**2 for each in advantages) * sum(each**2 for each in deeds))


def by(mode: str) -> Credit:
    settings = CreditTable.model_validate({"mode": mode})
    return lambda rewards: compute_advantages(rewards, settings)


def test_evidence_finds_the_chunks_that_erred_where_trajectories_hardly_do() -> None:
    measured = {
        mode: alignment(by(mode), units=1, rates=TEACHER, streams=8) for mode in ("evidence", "trajectory")
    }
    assert measured["evidence"] > 0.4
    assert measured["evidence"] > 1.5 * measured["trajectory"]


def test_a_scale_for_each_chunk_would_praise_who_writes_nothing() -> None:
    omits = Rates(other=0.4)

    def scaled_by_chunk(rewards: Sequence[Rewards]) -> Sequence[Sequence[float]]:
        plain = compute_advantages(rewards, CreditTable(scale=False))
        spread = [sqrt(mean([value**2 for value in chunk])) for chunk in zip(*plain, strict=True)]
        return [[value / (of or 1) for value, of in zip(each, spread, strict=True)] for each in plain]

    assert alignment(by("evidence"), units=4, rates=omits, streams=2) > 0.15
    assert alignment(scaled_by_chunk, units=4, rates=omits, streams=2) < 0


def test_exchanged_rewards_point_nowhere() -> None:
    def exchanged(rewards: Sequence[Rewards]) -> Sequence[Sequence[float]]:
        mixed = random.Random(0).sample(list(rewards), len(rewards))
        return compute_advantages(mixed, CreditTable())

    assert abs(alignment(exchanged, units=1, rates=TEACHER, streams=8)) < 0.15
