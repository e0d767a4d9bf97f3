"""What a rollout earned, part by part."""

from collections import Counter
from dataclasses import replace

import pytest

from memalpha_trainer.config import RewardTable
from memalpha_trainer.credit import Rewards, assign_rewards
from memalpha_trainer.records import Operation, Rollout

from .credit_support import ADDED, REFUSED, answer, rollout, sample

REJECTED = Operation("rejected", content="S*", error="malformed_call")


def rewards(*rollouts: Rollout, **table: object) -> list[Rewards]:
    return assign_rewards(rollouts, RewardTable.model_validate(table))


def test_r1_is_the_mean_score_or_the_users_own_number() -> None:
    scored = rollout(answer(1.0), answer(0.5), answer(0.0))
    assert rewards(scored)[0].answers == pytest.approx(0.5)
    assert rewards(replace(scored, reward=0.9))[0].answers == 0.9


def test_r2_is_the_share_of_calls_that_were_carried_out() -> None:
    read = [sample(0, ADDED), sample(1, ADDED, REFUSED), sample(2, REFUSED, REJECTED, REJECTED)]
    assert rewards(rollout(samples=read))[0].calls == (1.0, 0.5, 0.0)


@pytest.mark.parametrize(("quirks", "silence"), [(False, 1.0), (True, 0.0)])
def test_well_formed_silence_is_a_success_but_not_in_the_papers_code(quirks: bool, silence: float) -> None:
    read = [sample(0), sample(1, finished=False), sample(2, failure="too long")]
    assert rewards(rollout(samples=read), quirks=quirks)[0].calls == (silence, 0.0, 0.0)


def test_r3_is_what_was_saved_and_goes_to_chunks_by_what_they_added() -> None:
    # 100 tokens of stream; the memory grows by 10, by 40, shrinks by 5: 1 - 45/100.
    read = [sample(0, memory=10), sample(1, memory=50), sample(2, memory=45)]
    found = rewards(rollout(samples=read))[0]
    assert found.compression == pytest.approx(0.55)
    assert found.growth == pytest.approx((1 / 3 - 0.1, 1 / 3 - 0.4, 1 / 3 + 0.05))


def test_a_memory_longer_than_its_stream_costs() -> None:
    assert rewards(rollout(samples=[sample(0, memory=130)]))[0].compression == pytest.approx(-0.3)


def test_parts_are_weighted_and_chunks_averaged() -> None:
    read = [sample(0, ADDED, memory=20), sample(1, REFUSED, memory=20)]
    found = rewards(rollout(answer(0.5), samples=read), calls=0.2, compression=0.1)[0]
    # 0.5 + 0.1 · 0.8 = 0.58, and 0.2 · 1 for the first chunk, 0 for the second.
    assert found.by_sample == pytest.approx((0.78, 0.58))
    assert found.total == pytest.approx(0.68)


def test_a_rollout_that_ended_early_has_no_answers_and_no_memory_to_show_for() -> None:
    read = [sample(0, ADDED, memory=10), sample(1, memory=10, failure="too long")]
    failed = rollout(samples=read, failure="chunk 1 is parked: too long")
    whole = rollout(answer(1.0, 0), answer(1.0, 1), index=1)
    found = rewards(failed, whole)[0]
    assert (found.answers, found.compression, found.calls) == (0.0, 0.0, (1.0, 0.0))
    # What was saved until then is taken back from the chunk that failed.
    assert found.growth == pytest.approx((0.9, -0.9))
    # Both questions that it could not be asked rest there, too.
    assert [credit.chunks for credit in found.credits] == [(1,), (1,)]


def test_nobody_is_to_blame_for_a_prompt_that_was_refused() -> None:
    failed = rollout(samples=[sample(0, ADDED)], failure="chunk 1 is parked: prompt too long")
    found = rewards(failed, rollout(answer(1.0, 0), index=1))[0]
    assert [credit.chunks for credit in found.credits] == [()]


def test_shuffled_rewards_stay_in_their_group_and_are_drawn_uniformly() -> None:
    group = [rollout(answer(index / 4), index=index) for index in range(4)]
    other = [replace(each, group=1, answers=(answer(1.0),)) for each in group]
    first = Counter[float]()
    for seed in range(2000):
        found = assign_rewards([*group, *other], RewardTable(shuffled=True), seed=seed)
        assert sorted(each.answers for each in found[:4]) == [0.0, 0.25, 0.5, 0.75]
        assert [each.answers for each in found[4:]] == [1.0] * 4
        first[found[0].answers] += 1
    # 2000 draws of four: 500 each, standard deviation 19.
    assert all(abs(count - 500) < 100 for count in first.values())
    again = assign_rewards(group, RewardTable(shuffled=True), seed=1)
    assert again == assign_rewards(group, RewardTable(shuffled=True), seed=1)
    assert [each.answers for each in rewards(*group)] == [0.0, 0.25, 0.5, 0.75]
