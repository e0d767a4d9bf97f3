"""Paired differences: the mean by hand, the interval by what it must contain."""

import pytest

from memalpha.tasks.stats import normalised, paired_difference


def difference(ours, theirs, clusters, seed=0):
    return paired_difference(ours, theirs, clusters, samples=2000, confidence=0.95, seed=seed)


def test_the_mean_is_over_questions_and_counts_who_is_better() -> None:
    # differences 1, 0, -0.5, 0.25 over two conversations: mean 0.75 / 4
    found = difference([1, 0.5, 0, 0.5], [0, 0.5, 0.5, 0.25], ["a", "a", "b", "b"])
    assert found.mean == pytest.approx(0.1875)
    assert (found.better, found.worse, found.questions, found.clusters) == (2, 1, 4, 2)


def test_four_conversations_give_no_interval_and_five_do() -> None:
    scores = [0.0, 1.0, 0.0, 1.0, 1.0]
    assert difference(scores[:4], [0.5] * 4, list("abcd")).interval is None
    assert difference(scores, [0.5] * 5, list("abcde")).interval is not None


def test_equal_systems_differ_by_nothing_at_all() -> None:
    interval = difference([0.3] * 10, [0.3] * 10, list("abcde") * 2).interval
    assert interval is not None
    assert (interval.low, interval.high) == (0, 0)


def test_conversations_are_drawn_whole() -> None:
    # within a conversation all questions agree, +1 or -1: many questions, few clusters
    clusters = [name for name in "abcdef" for _ in range(100)]
    ours = [float(name in "abc") for name in clusters]
    theirs = [1 - score for score in ours]
    interval = difference(ours, theirs, clusters).interval
    assert interval is not None
    # 600 independent questions would give ±0.08; six clusters of ±1 have a standard error of 0.41
    assert interval.low < -0.6
    assert interval.high > 0.6


def test_larger_conversations_weigh_more() -> None:
    # one conversation of 96 questions at +1, four of one question at -1: the mean is 92/100
    clusters = ["a"] * 96 + list("bcde")
    found = difference([1.0] * 96 + [0.0] * 4, [0.0] * 96 + [1.0] * 4, clusters)
    assert found.mean == pytest.approx(0.92)


def test_the_same_seed_gives_the_same_interval_and_another_one_does_not() -> None:
    ours, clusters = [number / 7 % 1 for number in range(60)], [number % 6 for number in range(60)]
    first, again, other = (difference(ours, [0.4] * 60, clusters, seed).interval for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_scores_that_are_not_paired_are_refused() -> None:
    with pytest.raises(ValueError, match="there are 2, 1 of 2 questions"):
        difference([1, 0], [1], ["a", "b"])


def placed(scores, floor, ceiling, clusters):
    return normalised(scores, floor, ceiling, clusters, samples=2000, confidence=0.95, seed=0)


def test_floor_is_nought_ceiling_is_one_and_half_way_is_a_half() -> None:
    floor, ceiling, clusters = [0.2] * 10, [1.0] * 10, list("abcde") * 2
    assert placed(floor, floor, ceiling, clusters).mean == 0
    assert placed(ceiling, floor, ceiling, clusters).mean == 1
    assert placed([0.6] * 10, floor, ceiling, clusters).mean == pytest.approx(0.5)
    assert placed([0.0] * 10, floor, ceiling, clusters).mean == pytest.approx(-0.25)


def test_a_scale_is_of_means_and_not_of_single_questions() -> None:
    # gained 1 + 0, possible 1 + 0.5: 1 / 1.5, where the mean of the questions' own shares would be 1/2
    assert placed([1, 0], [0, 0], [1, 0.5], ["a", "b"]).mean == pytest.approx(2 / 3)


def test_the_interval_knows_that_the_ceiling_is_an_estimate() -> None:
    clusters, floor = list("abcdef"), [0.0] * 6
    scores, ceiling = [0.5, 0.4, 0.6, 0.5, 0.4, 0.6], [1.0, 0.8, 1.2, 1.0, 0.8, 1.2]
    exact = placed(scores, floor, ceiling, clusters).interval
    loose = placed(scores, floor, [1.0] * 6, clusters).interval
    assert exact is not None
    assert loose is not None
    # every stream reaches exactly half of its own ceiling, so nothing is left to chance
    assert exact.high - exact.low < 1e-9
    assert loose.high - loose.low > 0.05


def test_a_scale_that_a_draw_can_turn_over_has_no_interval() -> None:
    clusters, floor = list("abcde"), [0.0] * 5
    # a third of the draws, (4/5)^5, are without the only conversation that spans a scale
    flat = placed([0.5, 0, 0, 0, 0], floor, [1.0, 0, 0, 0, 0], clusters)
    assert (flat.mean, flat.interval) == (0.5, None)
    turned = placed([0.5] * 5, floor, [1.0, 1.0, 1.0, -1.0, -1.0], clusters)
    assert (turned.mean, turned.interval) == (2.5, None)
    assert placed([0.5] * 5, floor, [1.0, 1.0, 1.0, 0.1, 0.1], clusters).interval is not None


def test_a_scale_without_length_is_refused() -> None:
    with pytest.raises(ValueError, match="floor and ceiling must differ"):
        placed([1, 0], [0.5, 0.5], [0.5, 0.5], ["a", "b"])
    with pytest.raises(ValueError, match="there are 1, 2, 2 of 2 questions"):
        placed([1], [0, 0], [1, 1], ["a", "b"])
