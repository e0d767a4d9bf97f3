"""Advantages of each mode against tables made by hand, and what must not change them."""

import random
from collections.abc import Sequence
from dataclasses import replace
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memalpha_trainer.config import CreditTable, RewardTable
from memalpha_trainer.credit import Rewards, assign_rewards, compute_advantages
from memalpha_trainer.credit import advantages as module
from memalpha_trainer.credit.advantages import _compared
from memalpha_trainer.records import Rollout

from .credit_support import ADDED, REFUSED, answer, group_of, rollout, sample

MODES = ("mem_alpha", "trajectory", "per_chunk", "evidence")
ANSWERS_ONLY = RewardTable(calls=0, compression=0)


def advantages(rewards: Sequence[Rewards], mode: str, **settings: object) -> list[tuple[float, ...]]:
    return compute_advantages(rewards, CreditTable.model_validate({"mode": mode, **settings}))


def table(values: Sequence[Sequence[float]]) -> list[object]:
    return [pytest.approx(tuple(each), abs=1e-5) for each in values]


def pair() -> list[Rollout]:
    """One with all answers right and a refused call in chunk 1, one with none right."""
    return [
        rollout(answer(1.0, 0), answer(1.0, 1), samples=[sample(0, ADDED), sample(1, REFUSED)]),
        rollout(answer(0.0, 0), answer(0.0, 1), samples=[sample(0, ADDED), sample(1, ADDED)], index=1),
    ]


def test_mem_alpha_compares_all_rows_of_the_group() -> None:
    # Rows 1.1, 1.0, 0.1, 0.1: mean 0.575, squares .2756 + .1806 + 2 · .2256 = .9075, over 3: 0.55².
    found = advantages(assign_rewards(pair(), RewardTable(compression=0)), "mem_alpha")
    assert found == table([(0.525 / 0.55, 0.425 / 0.55), (-0.475 / 0.55, -0.475 / 0.55)])


def test_trajectory_compares_rollouts() -> None:
    # 1.05 and 0.1: two numbers are always 1/√2 deviations from their mean.
    found = advantages(assign_rewards(pair(), RewardTable(compression=0)), "trajectory")
    assert found == table([(0.707107, 0.707107), (-0.707107, -0.707107)])
    plain = advantages(assign_rewards(pair(), RewardTable(compression=0)), "trajectory", scale=False)
    assert plain == table([(0.475, 0.475), (-0.475, -0.475)])


def test_per_chunk_compares_rows_of_the_same_chunk() -> None:
    # Chunk 0: 1.1 and 0.1; chunk 1: 1.0 and 0.1.
    found = advantages(assign_rewards(pair(), RewardTable(compression=0)), "per_chunk", scale=False)
    assert found == table([(0.5, 0.45), (-0.5, -0.45)])


def test_per_chunk_is_trajectory_where_nothing_differs_by_chunk() -> None:
    group = [rollout(answer(score, 0), samples=3, index=index) for index, score in enumerate((0.1, 0.4, 0.9))]
    rewards = assign_rewards(group, RewardTable())
    assert advantages(rewards, "per_chunk") == table(advantages(rewards, "trajectory"))
    varied = [replace(rewards[0], calls=(0.0, 1.0, 1.0)), *rewards[1:]]
    assert advantages(varied, "per_chunk") != table(advantages(varied, "trajectory"))


def test_evidence_compares_what_chunks_are_owed_on_one_scale() -> None:
    group = [rollout(answer(1.0, 0), answer(1.0, 1)), rollout(answer(1.0, 0), answer(0.0), index=1)]
    # Owed: 0.25 + 0.25 for both chunks, and 0.125 + 0.25, 0.125 for the other rollout's.
    rewards = assign_rewards(group, ANSWERS_ONLY)
    plain = advantages(rewards, "evidence", scale=False)
    assert plain == table([(0.0625, 0.1875), (-0.0625, -0.1875)])
    # Variances 2 · 0.0625² and 2 · 0.1875², mean 0.0390625: one scale of 0.197642.
    assert advantages(rewards, "evidence") == table([(0.316228, 0.948683), (-0.316228, -0.948683)])


def test_in_evidence_the_rewards_of_chunks_are_parts_of_the_rollouts() -> None:
    group = [
        *pair(),
        rollout(answer(0.5, 1), answer(0.3), samples=[sample(0), sample(1, memory=30)], index=2),
    ]
    rewards = assign_rewards(group, RewardTable())
    plain = advantages(rewards, "evidence", scale=False)
    totals = [each.total for each in rewards]
    mean = sum(totals) / 3
    assert [sum(each) for each in plain] == pytest.approx([total - mean for total in totals], abs=1e-9)


def test_a_chunk_that_no_answer_rests_on_has_no_advantage_from_answers() -> None:
    group = [rollout(answer(score, 0), samples=2, index=index) for index, score in enumerate((0.0, 1.0))]
    found = advantages(assign_rewards(group, ANSWERS_ONLY), "evidence")
    assert [each[1] for each in found] == [0.0, 0.0]
    assert found[1][0] > 0.5
    # A wrong answer that rests on it is enough for it to count.
    group[0] = rollout(answer(0.0, 1), samples=2)
    assert advantages(assign_rewards(group, ANSWERS_ONLY), "evidence")[0][1] < -0.5


def test_answers_that_rest_on_nothing_known_are_credited_like_trajectories() -> None:
    group = [rollout(answer(score), samples=2, index=index) for index, score in enumerate((0.2, 0.4, 1.0))]
    rewards = assign_rewards(group, ANSWERS_ONLY)
    assert advantages(rewards, "evidence") == table(advantages(rewards, "trajectory"))


def test_few_saved_tokens_do_not_weigh_as_much_as_an_answer() -> None:
    # Chunk 0 decides the answer; nobody asks about chunk 1, where one rollout wrote ten tokens less.
    wordy, terse = ([sample(0, memory=10), sample(1, memory=size)] for size in (30, 20))
    group = [rollout(answer(1.0, 0), samples=wordy), rollout(answer(0.0, 0), samples=terse, index=1)]
    rewards = assign_rewards(group, RewardTable())
    found = advantages(rewards, "evidence")
    # Tokens: 0.05 · 10/100 apart; the answer: 0.25 as one of two chunks, 0.5 as the one it rests on.
    assert found[1][1] / found[0][0] == pytest.approx(0.005 / 0.75)
    # On a scale of its own each chunk would be 0.7 from its mean.
    own = [_compared([each.weights.compression * each.growth[1] for each in rewards], scale=True)]
    assert own == table([(-0.706907, 0.706907)])


def unequal() -> list[Rewards]:
    return group_of([1.0], [0.0, 0.0])


def test_rollouts_of_unequal_length_are_compared_as_rollouts() -> None:
    # Three rows 1, 0, 0 have mean 1/3 and deviation 1/√3; two rollouts are 1/√2 from their mean.
    assert advantages(unequal(), "mem_alpha") == table([(1.154701,), (-0.577350, -0.577350)])
    assert advantages(unequal(), "trajectory") == table([(0.707107,), (-0.707107, -0.707107)])
    # Nobody else read chunk 1.
    assert advantages(unequal(), "per_chunk") == table([(0.707107,), (-0.707107, 0.0)])


def test_expansion_before_normalisation_gives_other_numbers() -> None:
    rewards = unequal()
    rows = [each.total for each in rewards for _ in each.chunks]
    expanded = _compared(rows, scale=True)
    assert expanded != pytest.approx([value for each in advantages(rewards, "trajectory") for value in each])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("scale", [True, False])
def test_a_group_that_is_all_alike_teaches_nothing(mode: str, scale: bool) -> None:
    # 0.1 three times has a mean that is not 0.1 in floating point.
    group = [rollout(answer(0.1, 0), answer(0.1, 1), index=index) for index in range(3)]
    found = advantages(assign_rewards(group, RewardTable()), mode, scale=scale)
    assert found == [(0.0, 0.0)] * 3
    group[0] = rollout(answer(0.1, 0), answer(0.2, 1))
    assert any(any(each) for each in advantages(assign_rewards(group, RewardTable()), mode, scale=scale))


def test_a_failed_rollout_lowers_nobody_but_the_chunk_it_failed_at() -> None:
    failed = rollout(samples=[sample(0), sample(1, failure="parked")], failure="chunk 1 is parked")
    group = [failed, *(rollout(answer(1.0, 0), index=index) for index in (1, 2))]
    found = advantages(assign_rewards(group, ANSWERS_ONLY), "evidence", evidence_share=1.0)
    assert [each[0] for each in found] == [0.0, 0.0, 0.0]
    assert found[0][1] < -1
    # Compared as rollouts, both of its chunks are at fault.
    assert max(advantages(assign_rewards(group, ANSWERS_ONLY), "trajectory")[0]) < -1


@pytest.mark.parametrize("mode", MODES)
def test_a_rollout_that_never_began_counts_as_one_that_earned_nothing(mode: str) -> None:
    refused = rollout(samples=0, failure="chunk 0 is parked: prompt too long")
    group = [refused, rollout(answer(0.0, 0), index=1), rollout(answer(1.0, 0), index=2)]
    found = advantages(assign_rewards(group, ANSWERS_ONLY), mode)
    assert found[0] == ()
    assert found[1][0] < 0 < found[2][0]


def test_of_a_chunk_that_was_tried_again_the_last_try_has_the_answers() -> None:
    tried = rollout(answer(1.0, 0), samples=[sample(0, failure="busy"), sample(0), sample(1)])
    group = [tried, rollout(answer(0.0, 0), index=1)]
    found = advantages(assign_rewards(group, ANSWERS_ONLY), "evidence", scale=False, evidence_share=1.0)
    # Rows of chunk 0: 0 of the failed try, 1, and 0 of the other rollout.
    assert found == table([(-1 / 3, 2 / 3, 0.0), (-1 / 3, 0.0)])


def drawn(seed: int) -> list[Rollout]:
    chance = random.Random(seed)

    def one(index: int, group: int) -> Rollout:
        read = [sample(chunk, *chance.choices((ADDED, REFUSED), k=2), memory=chunk * 3) for chunk in range(3)]
        answers = [answer(chance.random(), chance.randrange(3)) for _ in range(4)]
        return rollout(*answers, samples=read, index=index, group=group)

    return [one(index, group) for group in range(2) for index in range(4)]


@given(st.integers(0, 10**6), st.sampled_from(MODES))
def test_the_order_of_rollouts_does_not_matter(seed: int, mode: str) -> None:
    group = drawn(seed)
    order = random.Random(seed).sample(range(len(group)), len(group))
    straight = advantages(assign_rewards(group, RewardTable()), mode)
    mixed = advantages(assign_rewards([group[each] for each in order], RewardTable()), mode)
    assert mixed == table([straight[each] for each in order])


@given(st.integers(0, 10**6), st.sampled_from(MODES), st.floats(0.5, 20), st.floats(-3, 3))
def test_neither_unit_nor_origin_of_rewards_matters(seed: int, mode: str, unit: float, shift: float) -> None:
    rewards = assign_rewards(drawn(seed), RewardTable())
    weights = RewardTable.model_validate(
        {name: unit * value for name, value in _weights(RewardTable()).items()}
    )
    moved = [
        replace(each, weights=weights, calls=tuple(call + shift for call in each.calls)) for each in rewards
    ]
    # The 1e-6 that keeps divisors from 0 has a unit of its own.
    with mock.patch.object(module, "EPS", 0.0):
        straight, other = advantages(rewards, mode), advantages(moved, mode)
    assert other == [pytest.approx(each, abs=1e-6) for each in straight]
    unscaled = advantages(moved, mode, scale=False)
    assert unscaled == [
        pytest.approx([unit * value for value in each], abs=1e-6)
        for each in advantages(rewards, mode, scale=False)
    ]


def _weights(rewards: RewardTable) -> dict[str, float]:
    return {name: getattr(rewards, name) for name in ("answers", "calls", "compression", "content")}


def test_groups_are_compared_with_themselves_only() -> None:
    first = [rollout(answer(score, 0), index=index) for index, score in enumerate((0.0, 1.0))]
    other = [replace(each, group=1, answers=(answer(1.0, 0),)) for each in first]
    found = advantages(assign_rewards([*first, *other], ANSWERS_ONLY), "trajectory")
    assert found == table([(-0.707107,) * 2, (0.707107,) * 2, (0.0,) * 2, (0.0,) * 2])
