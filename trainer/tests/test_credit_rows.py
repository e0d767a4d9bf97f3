"""Rows: nothing lost without being counted, ids untouched, weights that sum to what they say."""

from dataclasses import replace

import pytest

from memalpha_trainer.config import Config, CreditTable
from memalpha_trainer.credit import expand_rows, fresh, rows
from memalpha_trainer.credit.rows import Row
from memalpha_trainer.records import ChunkSample, Rollout

from .credit_support import ADDED, REFUSED, answer, rollout, sample


def configured(**tables: dict[str, object]) -> Config:
    return Config.model_validate({"policy": {"model": "warm"}, **tables})


def group(*versions: int, group: int = 0) -> list[Rollout]:
    """One rollout of two chunks for each version, which drew its second chunk."""
    return [
        rollout(
            answer(index / 4, 0),
            samples=[sample(0, version=9), sample(1, version=each)],
            index=index,
            group=group,
        )
        for index, each in enumerate(versions)
    ]


def test_a_row_is_its_samples_own_ids_and_logprobs() -> None:
    read = [replace(sample(0), completion_ids=(5, 6), logprobs=(-0.25, -3.5)), sample(1, tokens=7)]
    made, _ = expand_rows([rollout(samples=read, index=3, group=2)], [(0.5, -0.5)], CreditTable())
    assert made[0] == Row(
        (1, 2, 3), (5, 6), (-0.25, -3.5), 0.5, trained=True, weight=1.0, rollout=(2, 3), chunk=0, sample=0
    )
    assert (made[1].advantage, made[1].chunk, len(made[1].completion_ids)) == (-0.5, 1, 7)


def test_tries_of_a_chunk_are_told_apart() -> None:
    read = [sample(0), sample(0), sample(1)]
    made, _ = expand_rows([rollout(samples=read)], [(0.5, 0.5, 0.5)], CreditTable())
    assert [(each.chunk, each.sample) for each in made] == [(0, 0), (0, 1), (1, 2)]


@pytest.mark.parametrize(("bound", "kept"), [(0, [0]), (1, [0, 1]), (3, [0, 1]), (4, [0, 1, 2])])
def test_groups_with_a_token_of_too_old_weights_go_as_a_whole_and_are_counted(
    bound: int, kept: list[int]
) -> None:
    collected = [*group(9, 9, 9), *group(9, 8, 9, group=1), *group(5, 9, 9, group=2)]
    left, dropped = fresh(collected, 9, bound)
    assert [each.group for each in left] == [number for number in kept for _ in range(3)]
    # Three rollouts of two samples in each group.
    assert dropped == 6 * (3 - len(kept))
    config = configured(rollouts={"max_staleness": bound})
    batch = rows(collected, config, 0, version=9)
    assert len(batch.rows) + sum(batch.dropped.values()) == 18
    assert batch.dropped == {"stale": dropped, "empty": 0}
    assert batch.stats["rows/dropped_stale"] == dropped


def test_samples_without_tokens_are_counted_and_take_part_in_the_baseline() -> None:
    read = [sample(0), sample(1, tokens=0)]
    batch = rows([rollout(answer(1.0, 0), samples=read), rollout(answer(0.0, 0), index=1)], configured(), 0)
    assert batch.dropped == {"stale": 0, "empty": 1}
    assert [(row.rollout, row.chunk) for row in batch.rows] == [((0, 0), 0), ((0, 1), 0), ((0, 1), 1)]
    assert batch.rows[0].advantage > 0 > batch.rows[1].advantage


def test_truncated_rows_are_masked_if_told_so_and_still_compared() -> None:
    read = [sample(0), sample(1, finished=False)]
    collected = [rollout(answer(1.0, 0), samples=read), rollout(answer(0.0, 0), index=1)]
    kept = rows(collected, configured(), 0)
    masked = rows(collected, configured(credit={"truncated": "mask"}), 0)
    assert [row.trained for row in kept.rows] == [True] * 4
    assert [row.trained for row in masked.rows] == [True, False, True, True]
    assert [row.weight for row in masked.rows] == [1.0, 0.0, 1.0, 1.0]
    assert [row.advantage for row in masked.rows] == [row.advantage for row in kept.rows]
    assert masked.stats["rows/masked"] == 1
    assert masked.stats["completion/truncated"] == 0.25


def weighted(weighting: str, *lengths: list[ChunkSample]) -> list[Row]:
    collected = [rollout(samples=read, index=index) for index, read in enumerate(lengths)]
    credit = CreditTable.model_validate({"weighting": weighting, "truncated": "mask"})
    return list(expand_rows(collected, [(0.0,) * len(read) for read in lengths], credit)[0])


def test_tokens_count_alike_or_rollouts_do() -> None:
    long, short = [sample(0, tokens=6), sample(1, tokens=3)], [sample(0, tokens=3)]
    cut = [sample(0, tokens=9, finished=False)]
    assert [row.weight for row in weighted("token", long, short, cut)] == [1, 1, 1, 0]
    # 12 trained tokens, 6 for each of two rollouts: 6/9 and 6/3; a rollout without any has no share.
    found = weighted("rollout", long, short, cut)
    assert [row.weight for row in found] == pytest.approx([2 / 3, 2 / 3, 2, 0])
    assert sum(row.weight * len(row.completion_ids) for row in found) == pytest.approx(12)


def test_exchanged_rewards_fit_rollouts_of_another_length() -> None:
    made, _ = expand_rows([rollout(samples=3)], [(0.5, -0.5)], CreditTable())
    assert [row.advantage for row in made] == [0.5, -0.5, -0.5]
    made, _ = expand_rows([rollout(samples=1)], [()], CreditTable())
    assert [row.advantage for row in made] == [0.0]


def test_the_exchange_of_rewards_is_the_steps_own_and_can_be_repeated() -> None:
    config = configured(rewards={"shuffled": True}, credit={"mode": "trajectory"})
    collected = group(*[9] * 8)
    drawn = [[row.advantage for row in rows(collected, config, step).rows] for step in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert sorted(drawn[0]) == pytest.approx(sorted(drawn[2]))


def test_the_log_says_what_was_earned_written_and_dropped() -> None:
    read = [sample(0, ADDED, ADDED, REFUSED, tokens=4, memory=10), sample(1, tokens=2, memory=10)]
    same = [*group(9, 9, group=1)]
    same[1] = replace(same[0], index=1)
    other = rollout(answer(0.0, 0), samples=[sample(0, tokens=0), sample(1)], index=1)
    stats = rows([rollout(answer(1.0, 0), samples=read), other, *same], configured(), 0).stats
    assert stats["reward/qa"] == 0.25
    assert stats["reward/qa_std"] == pytest.approx(0.5)
    # Calls: (2/3 + 1)/2, and 1 for silence.
    assert stats["reward/call"] == pytest.approx((5 / 6 + 3) / 4)
    assert stats["reward/compression"] == pytest.approx((0.9 + 3) / 4)
    assert stats["reward/content"] == 0
    assert stats["frac_zero_std_groups"] == 0.5
    # Two inserts and a refused one over eight chunks, seven of them silent.
    assert (stats["ops/insert"], stats["ops/failed"], stats["ops/skip"]) == (2 / 8, 1 / 8, 7 / 8)
    assert (stats["rows/made"], stats["rows/dropped_empty"], stats["rows/tokens"]) == (7, 1, 16)
    assert stats["adv/abs_mean"] > 0
    assert stats["memory/tokens"] == 2.5


def test_no_rollouts_are_an_empty_batch() -> None:
    batch = rows([], configured(), 0, version=1)
    assert (batch.rows, batch.rewards, batch.dropped) == ((), (), {"stale": 0, "empty": 0})
    assert batch.stats["reward/total"] == 0
