"""Which row is passed over when; no torch."""

import random

import pytest

from memalpha_trainer.grpo.packing import PADDING, pack


def flat(places: list[list[list[int]]]) -> list[int]:
    return [place for rank in places for part in rank for place in part]


@pytest.mark.parametrize("count", [0, 1, 2, 7, 96, 97, 101, 257])
@pytest.mark.parametrize(("updates", "micro_batches", "ranks"), [(1, 1, 1), (1, 4, 1), (3, 2, 2), (5, 4, 3)])
def test_every_row_has_one_place(count: int, updates: int, micro_batches: int, ranks: int) -> None:
    lengths = random.Random(count).choices(range(1, 51), k=count)
    places = pack(lengths, updates=updates, micro_batches=micro_batches, ranks=ranks, seed=3)
    assert sorted(place for place in flat(places) if place != PADDING) == list(range(count))
    assert [len(rank) for rank in places] == [updates * micro_batches] * ranks


@pytest.mark.parametrize("count", [0, 1, 97, 101])
def test_ranks_have_as_many_rows_at_the_same_place_and_at_least_one(count: int) -> None:
    places = pack([5] * count, updates=3, micro_batches=4, ranks=3)
    sizes = [[len(part) for part in rank] for rank in places]
    assert sizes[0] == sizes[1] == sizes[2]
    assert min(sizes[0]) >= 1


def test_cutting_into_equal_parts_without_padding_loses_a_row_of_97() -> None:
    # As TRL cuts: 97 // 4 = 24 rows to a part.
    parts = [list(range(97))[start : start + 24] for start in range(0, 96, 24)]
    assert sum(map(len, parts)) == 96
    assert sum(place != PADDING for place in flat(pack([1] * 97, updates=1, micro_batches=4))) == 97


def test_optimizer_steps_have_as_many_rows_but_for_one() -> None:
    (rank,) = pack([7] * 103, updates=4, micro_batches=2)
    real = [
        sum(place != PADDING for part in rank[start : start + 2] for place in part) for start in (0, 2, 4, 6)
    ]
    assert sorted(real) == [25, 26, 26, 26]


def test_rows_of_like_length_go_together() -> None:
    lengths = random.Random(1).choices(range(1, 101), k=64)
    chance = list(range(64))
    random.Random(2).shuffle(chance)
    drawn = [chance[start : start + 16] for start in range(0, 64, 16)]

    def cells(parts: list[list[int]]) -> int:
        return sum(len(part) * max(lengths[place] for place in part) for part in parts)

    (packed,) = pack(lengths, updates=1, micro_batches=4)
    # Each part is padded to its longest row; drawn at random, nearly all are padded to 100.
    assert cells(packed) < 0.8 * cells(drawn)


def test_length_does_not_decide_the_optimizer_step() -> None:
    lengths = list(range(200))
    (rank,) = pack(lengths, updates=2, micro_batches=2, seed=1)
    means = [
        sum(lengths[place] for part in rank[start : start + 2] for place in part) / 100 for start in (0, 2)
    ]
    # The mean of 100 of 200 lengths drawn at random is within 4 standard errors (16) of 99.5.
    assert all(abs(mean - 99.5) < 16 for mean in means)


def test_the_seed_decides_which_rows_an_optimizer_step_has() -> None:
    first, again, other = (pack([1] * 40, updates=2, micro_batches=1, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other
