"""Statistics against values worked out by hand or printed in tables, and against made-up worlds."""

import math
import random
from itertools import pairwise

import pytest

from memalpha.tasks.stats import paired_difference
from memalpha_evals.compare.tables import between
from memalpha_evals.statistics import (
    SIGNIFICANCE,
    between_seeds,
    clustered_mean,
    clustered_share,
    detectable,
    detectable_effect,
    effective,
    holm,
    p_value,
    paired,
    student_cdf,
    student_quantile,
    unpaired,
    wilson,
)


def test_wilson_has_the_textbook_interval() -> None:
    # 8 of 10: (8.0 + 1.9207) / 13.8415 ± 1.96 / 13.8415 * sqrt(1.6 + 0.9604) = 0.7168 ± 0.2266
    found = wilson(8, 10)
    assert found.low == pytest.approx(0.4902, abs=1e-4)
    assert found.high == pytest.approx(0.9433, abs=1e-4)


def test_wilson_stays_within_0_and_1_and_is_no_point_at_the_ends() -> None:
    assert wilson(0, 20).low == 0
    assert 0 < wilson(0, 20).high < 0.2
    assert wilson(20, 20).high == 1
    with pytest.raises(ValueError, match="at least one"):
        wilson(0, 0)


@pytest.mark.parametrize(
    ("freedom", "value"), [(1, 12.706), (2, 4.303), (5, 2.571), (9, 2.262), (10, 2.228), (100, 1.984)]
)
def test_students_quantiles_are_those_of_the_tables(freedom, value) -> None:
    assert student_quantile(0.975, freedom) == pytest.approx(value, abs=5e-4)


def test_students_distribution_is_known_in_closed_form_for_1_and_2_degrees() -> None:
    for t in (-3.0, -0.5, 0.0, 1.0, 20.0):
        assert student_cdf(t, 1) == pytest.approx(0.5 + math.atan(t) / math.pi)
        assert student_cdf(t, 2) == pytest.approx(0.5 + t / (2 * math.sqrt(2 + t * t)))


def test_p_is_below_the_level_just_where_the_interval_leaves_zero_out() -> None:
    # mean 0.5, squares of deviations sum to 1: error sqrt(5/4) / 5 = 0.2236, t = 2.236; with four degrees
    # tan a = t / 2, sin a = 0.7454, cos² a = 0.4444: p = 1 - 0.7454 * (1 + 0.2222) = 0.0890
    found = clustered_mean([0.0, 0.5, 1.0, 0.0, 1.0], range(5))
    assert found.error == pytest.approx(0.2236, abs=1e-4)
    assert p_value(found) == pytest.approx(0.0890, abs=1e-4)
    for reach in (0.9, 1.0, 1.1, 1.3):
        one = clustered_mean([reach - 1, reach - 0.5, reach, reach - 1, reach], range(5))
        p = p_value(one)
        assert one.interval is not None
        assert p is not None
        assert (p < SIGNIFICANCE) == (one.interval.low > 0)


def test_clusters_that_all_differ_by_the_same_are_clear_only_if_there_are_enough_of_them() -> None:
    # no spread, so no t: five clusters fall on one side by chance in 2 of 32 draws, six in 2 of 64
    assert p_value(clustered_mean([0.25] * 10, "aabbccddee")) == 2 / 32
    assert p_value(clustered_mean([0.25] * 6, range(6))) == 2 / 64
    assert p_value(clustered_mean([0.0] * 6, range(6))) == 1
    assert p_value(clustered_mean([1.0] * 4, range(4))) is None


def worlds(count: int, clusters: int, effect: float = 0.0):
    """Pairs of systems on 20 questions a cluster; how well they do moves from cluster to cluster."""
    draws = random.Random(11)
    names = [place // 20 for place in range(20 * clusters)]
    for _ in range(count):
        shifts = [draws.gauss(effect, 0.3) for _ in range(clusters)]
        ours = [float(draws.random() < 0.5 + shifts[name] / 2) for name in names]
        theirs = [float(draws.random() < 0.5 - shifts[name] / 2) for name in names]
        yield ours, theirs, names


def test_where_there_is_no_difference_five_in_a_hundred_are_called_clear_and_by_bootstrap_many_more() -> None:
    made = list(worlds(400, clusters=5))
    clear = bootstrapped = 0
    for ours, theirs, names in made:
        p = p_value(clustered_mean([a - b for a, b in zip(ours, theirs, strict=True)], names))
        clear += p is not None and p < SIGNIFICANCE
        old = paired_difference(ours, theirs, names, samples=200, confidence=0.95, seed=0).interval
        bootstrapped += old is not None and not old.low <= 0 <= old.high
    assert 0.03 <= clear / len(made) <= 0.07
    assert bootstrapped / len(made) > 0.1


def test_a_difference_of_the_size_that_could_be_seen_is_seen_four_times_in_five() -> None:
    # shifts have deviation 0.3, and 20 questions of variance about 0.46 each: error of a cluster
    # sqrt(0.09 + 0.46 / 20) = 0.336, of ten 0.106; (t(9) at .975 is 2.262, at .8 0.883) * 0.106 = 0.334
    seen = [_seen(*each) for each in worlds(300, clusters=10, effect=0.334)]
    assert 0.72 <= sum(clear for clear, _ in seen) / len(seen) <= 0.88
    assert sum(effect for _, effect in seen) / len(seen) == pytest.approx(0.334, rel=0.1)


def _seen(ours, theirs, names) -> tuple[bool, float]:
    found = clustered_mean([a - b for a, b in zip(ours, theirs, strict=True)], names)
    p, effect = p_value(found), detectable_effect(found)
    assert p is not None
    assert effect is not None
    return p < SIGNIFICANCE, effect


def test_as_many_questions_in_fewer_clusters_show_less() -> None:
    values = [float(place // 4 % 2) for place in range(40)]
    alike = clustered_mean(values, [place // 4 for place in range(40)])
    apart = clustered_mean(values, range(40))
    few, many = detectable_effect(alike), detectable_effect(apart)
    assert few is not None
    assert many is not None
    assert few > 1.8 * many
    assert detectable_effect(clustered_mean(values, [place // 10 for place in range(40)])) is None


def test_without_a_discordant_question_one_could_still_be_missed() -> None:
    # (2.571 + 0.920) * 1 / 60
    assert detectable_effect(clustered_mean([0.0] * 60, [place % 6 for place in range(60)])) == pytest.approx(
        3.490 / 60, abs=1e-4
    )


def test_a_paired_difference_counts_what_is_better_and_worse() -> None:
    found = paired([1, 1, 0, 1, 1], [0, 1, 1, 0, 0], "abcde")
    assert (found.mean, found.questions, found.clusters) == (0.4, 5, 5)
    assert (found.better, found.worse) == (3, 1)
    whole = clustered_mean([1, 0, -1, 1, 1], "abcde").interval
    assert found.interval is not None
    assert whole is not None
    assert (found.interval.low, found.interval.high) == (whole.low, 1.0)  # 0.4 + 1.11
    with pytest.raises(ValueError, match="zip"):
        paired([1.0], [], "a")


def test_holm_multiplies_the_smallest_most_and_never_goes_down() -> None:
    # .01 * 3; .03 * 2; then .04 * 1 is less than .06
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06})
    assert holm({"a": 0.6, "b": 0.7}) == {"a": 1.0, "b": 1.0}
    assert holm({}) == {}


def test_clusters_of_one_question_each_give_the_plain_standard_error() -> None:
    values = [0.0, 1.0, 1.0, 0.0, 1.0, 1.0]
    # deviations: 4 of 1/3, 2 of -2/3: squares sum to 12/9; 6/5 * 12/9 / 36
    found = clustered_mean(values, range(6))
    assert found.error == pytest.approx(math.sqrt(6 / 5 * 12 / 9 / 36))
    assert found.error is not None
    assert found.interval is not None
    assert found.interval.high - found.value == pytest.approx(2.5706 * found.error, abs=1e-4)


def test_questions_that_agree_within_their_cluster_count_as_fewer() -> None:
    values = [0.0] * 8 + [1.0] * 12
    alike = [f"{place // 4}" for place in range(20)]
    mixed = [f"{place % 5}" for place in range(20)]
    together, apart = (clustered_mean(values, each).error for each in (alike, mixed))
    assert together is not None
    assert apart is not None
    assert together > 2 * apart


def test_four_clusters_claim_nothing() -> None:
    found = clustered_mean([0.0, 1.0, 1.0, 1.0], "abcd")
    assert (found.value, found.error, found.interval, found.clusters) == (0.75, None, None, 4)


def test_the_power_table_is_the_published_one() -> None:
    # paired, 80 % power, a fifth discordant: in points, for the sizes of usual sets
    table = {96: 12.8, 100: 12.5, 128: 11.1, 500: 5.6, 589: 5.2, 1540: 3.2}
    assert {n: round(100 * detectable(n), 1) for n in table} == table


def test_three_seeds_make_a_deviation_and_two_do_not() -> None:
    assert between_seeds([0.4, 0.5, 0.6]) == pytest.approx(0.1)
    assert between_seeds([0.4, 0.6]) is None


def test_clusters_of_unlike_sizes_weigh_as_fewer_and_claim_nothing_if_too_few() -> None:
    # 110² / (60² + 30² + 10² + 5² + 5²) = 12100 / 4650
    clusters = [name for name, size in enumerate((60, 30, 10, 5, 5)) for _ in range(size)]
    assert effective(clusters) == pytest.approx(2.602, abs=1e-3)
    values = [float(n % 3 == 0) for n in range(110)]
    assert clustered_mean(values, clusters).interval is None
    # The control: as many clusters of nearly one size.
    even = [n * 5 // 110 for n in range(110)]
    assert clustered_mean(values, even).interval is not None


def test_figures_of_different_questions_must_lie_further_apart() -> None:
    # (1.95996 + 0.84162) * sqrt(2 * 0.25 / 128)
    assert unpaired(128) == pytest.approx(0.1751, abs=1e-4)
    assert unpaired(128) > detectable(128)


def test_large_clusters_take_degrees_of_freedom_away() -> None:
    # weights 2/7 and five times 1/7: squares sum to 9/49; pulls w² / (1 - w) are 4/35 and 1/42, whose
    # products of unlike ones sum to (7/30)² - 0.0158957: 1 / (0.1836735 + 0.0385488) = 4.5
    unlike = clustered_mean([1.0, 0, 0, 1, 0, 1, 0], "aabcdef")
    assert unlike.freedom == pytest.approx(4.5)
    assert clustered_mean([1.0, 0, 0, 1, 0, 1], "abcdef").freedom == pytest.approx(5)


def test_between_whole_degrees_of_freedom_lie_the_quantiles_between() -> None:
    # 2.7764 at 4 and 2.5706 at 5; by numerical integration 2.6585 at 4.5
    assert student_quantile(0.975, 4.5) == pytest.approx(2.6585, abs=5e-3)


def unlike_worlds(count: int):
    """Differences without an effect: four conversations of 120 questions and 16 of five."""
    draws = random.Random(7)
    clusters = [name for name, size in enumerate([120] * 4 + [5] * 16) for _ in range(size)]
    for _ in range(count):
        shifts = [draws.gauss(0, 0.3) for _ in range(20)]
        yield [shifts[name] + draws.choice((-0.5, 0.5)) for name in clusters], clusters


def test_twenty_clusters_of_unlike_sizes_are_called_clear_about_as_often_as_said() -> None:
    made = list(unlike_worlds(500))
    new = [p_value(clustered_mean(*each)) for each in made]
    # 7 in a hundred; by one degree less than there are clusters and G / (G - 1), 15
    assert sum(p is not None and p < SIGNIFICANCE for p in new) / len(made) < 0.1
    assert sum(_clear_by_count(*each) for each in made) / len(made) > 0.12


def _clear_by_count(values, clusters) -> bool:
    mean, groups = sum(values) / len(values), len(set(clusters))
    sums = [0.0] * groups
    for value, cluster in zip(values, clusters, strict=True):
        sums[cluster] += (value - mean) / len(values)
    error = math.sqrt(groups / (groups - 1) * sum(each * each for each in sums))
    return abs(mean) / error > student_quantile(0.975, groups - 1)


def test_no_interval_of_a_score_leaves_0_to_1() -> None:
    places = [place % 6 for place in range(60)]
    for rare in ([1.0] + [0.0] * 59, [0.5] + [0.0] * 59):
        found, whole = clustered_share(rare, places), clustered_mean(rare, places)
        assert found.interval is not None
        assert whole.interval is not None
        assert whole.interval.low < 0  # the control: t alone knows no bounds
        assert 0 <= found.interval.low < found.value < found.interval.high < 1


def test_a_share_has_the_interval_of_so_many_independent_questions_as_have_its_error() -> None:
    # one of 300 in six clusters: squares of sums ((5/6)² + 5 / 6²) / 300², 6/5 of which is 1 / 300²;
    # 299 trials times (1.95996 / 2.57058)² are 173.8, of which 0.5794; (0.5794 + 1.9207 ± 2.4314) / 177.65
    found = clustered_share([1.0] + [0.0] * 299, [place % 6 for place in range(300)])
    assert found.interval is not None
    assert (found.interval.low, found.interval.high) == pytest.approx((0.00039, 0.02776), abs=2e-5)


def spread(right: int, questions: int = 300, clusters: int = 6):
    """So many right answers, one cluster after another."""
    return [float(place < right) for place in range(questions)], [n % clusters for n in range(questions)]


def test_in_clusters_that_are_mixed_inside_no_bound_falls_as_more_answers_are_right() -> None:
    # where all clusters have as many, and some are wrong, there is none
    found = [clustered_share(*spread(right)) for right in range(301) if right % 6 or right in (0, 300)]
    bounds = [(each.interval.low, each.interval.high) for each in found if each.interval]
    assert len(bounds) == len(found) == 252
    assert rises(bounds)
    printed = [between(each.interval, each.value) for each in found]
    assert (printed[0], printed[1], printed[-1]) == ("at most 2.2", "0.0 to 2.8", "at least 97.8")
    # the control: if none right were bounded by as many trials as there are clusters, the bounds would fall
    assert not rises([(0.0, wilson(0, 6).high), *bounds[1:]])


def test_bounds_may_fall_with_more_right_answers_but_not_below_those_of_a_single_one() -> None:
    def high(*right: int) -> float:
        values = [float(place < count) for count in right for place in range(10)]
        found = clustered_share(values, [name for name in range(6) for _ in range(10)]).interval
        assert found
        return 100 * found.high

    assert high(3, 0, 0, 0, 0, 0) == pytest.approx(32.7, abs=0.1)
    assert high(1, 1, 1, 1, 0, 0) == pytest.approx(15.9, abs=0.1)
    assert high(0, 0, 0, 0, 0, 0) < high(1, 0, 0, 0, 0, 0) < 15.9
    # where clusters are right or wrong as a whole, none of six is .85^6 = 38 % likely at a share of 15 %
    assert high(0, 0, 0, 0, 0, 0) == pytest.approx(10.1, abs=0.1)


def test_in_clusters_of_unlike_sizes_too_one_success_has_no_lower_bound_than_none() -> None:
    draws = random.Random(7)
    for _ in range(100):
        sizes = [draws.choice((1, 2, 3, 10, 40)) for _ in range(8)]
        names = [name for name, size in enumerate(sizes) for _ in range(size)]
        none = clustered_share([0.0] * len(names), names).interval
        for name in range(8):
            single = [float(place == names.index(name)) for place in range(len(names))]
            one = clustered_share(single, names).interval
            assert (none is None) == (one is None)
            assert none is None or one is None or none.high < one.high


def rises(bounds) -> bool:
    return all(low <= lower and high <= higher for (low, high), (lower, higher) in pairwise(bounds))


def test_no_error_that_is_small_by_chance_makes_more_trials_than_there_are_questions() -> None:
    # five of 300, each in a cluster of its own: by its error as many as 1475 trials, 857 with five degrees
    found = clustered_share(*spread(5)).interval
    assert found == wilson(5, 300)


def shares(share: float, alike: float, count: int = 400):
    """Answers in six conversations of 50, whose shares are beta with this intraclass correlation."""
    draws, more = random.Random(5), (1 - alike) / alike
    names = [place // 50 for place in range(300)]
    for _ in range(count):
        rates = [draws.betavariate(share * more, (1 - share) * more) for _ in range(6)]
        yield [float(draws.random() < rates[name]) for name in names], names


@pytest.mark.parametrize("share", [0.02, 0.98])
def test_intervals_near_0_and_100_hold_the_share_as_often_as_they_say_and_those_by_t_do_not(share) -> None:
    made = list(shares(share, alike=0.05))
    new, old = [clustered_share(*each) for each in made], [clustered_mean(*each) for each in made]
    assert _coverage(new, share) > 0.94
    assert _coverage(old, share) < 0.88


def _coverage(found, share: float) -> float:
    known = [each.interval for each in found if each.interval]
    return sum(each.low <= share <= each.high for each in known) / len(known)


def test_no_success_at_all_is_bounded_by_the_trials_of_a_single_one() -> None:
    none, every = clustered_share(*spread(0, 60)), clustered_share(*spread(60, 60))
    assert none.interval is not None
    assert every.interval is not None
    # one of 60 in six clusters has 59 trials, times (1.95996 / 2.57058)² 34.30; 3.8415 / (34.30 + 3.8415)
    assert (none.interval.low, none.interval.high) == pytest.approx((0, 0.1007), abs=1e-4)
    assert (every.interval.low, every.interval.high) == pytest.approx((0.8993, 1), abs=1e-4)
    # clusters of 2, 1, 1, 1, 1, 1: one in the largest has the square error (5/7 + 5 (1/7)² / (6/7)) / 7²,
    # 6/5 of its share's times 6/7²: 7.2 trials, by 4.5 degrees times (1.95996 / 2.660)² 3.909
    unlike = clustered_share([0.0] * 7, "aabcdef").interval
    assert unlike is not None
    assert unlike.high == pytest.approx(3.8415 / (3.909 + 3.8415), abs=1e-3)
    assert clustered_share([0.0] * 4, "abcd").interval is None


def test_clusters_that_are_all_alike_have_no_interval_rather_than_a_point() -> None:
    alike = clustered_share([0.0, 1.0] * 6, [place // 2 for place in range(12)])
    assert (alike.value, alike.error, alike.interval) == (0.5, 0.0, None)
    assert paired([1.0] * 6, [0.0] * 6, range(6)).interval is None
