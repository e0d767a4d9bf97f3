"""Statistics against values worked out by hand or printed in tables."""

import math

import pytest

from memalpha_evals.statistics import (
    between_seeds,
    clustered_mean,
    detectable,
    holm,
    mcnemar,
    student_cdf,
    student_quantile,
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


def test_mcnemar_is_the_binomial_test_of_discordant_pairs() -> None:
    # 2 * (C(10,0) + C(10,1)) / 2^10
    assert mcnemar(1, 9) == mcnemar(9, 1) == 22 / 1024
    assert mcnemar(0, 5) == 2 / 32
    assert mcnemar(3, 3) == 1
    assert mcnemar(0, 0) == 1
    assert 0 < mcnemar(400, 700) < 1e-15


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
