"""Metrics against values worked out by hand, and canaries that a wrong metric cannot pass."""

import random
from math import log2

import pytest

from memalpha_evals.retrieval.metrics import (
    evidence_ranks,
    evidence_reads,
    ndcg_at,
    recall_at,
    recall_within,
    reciprocal_rank,
)


def test_ranks_are_places_from_one_of_the_evidence_that_was_found() -> None:
    assert evidence_ranks(["a", "b", "c", "d"], {"d", "b", "x"}) == (2, 4)


def test_recall_counts_evidence_that_was_not_found() -> None:
    # two of three are found, at 2 and 4
    assert [recall_at((2, 4), 3, k) for k in (1, 2, 3, 4, 50)] == [0, 1 / 3, 1 / 3, 2 / 3, 2 / 3]


def test_reciprocal_rank_looks_at_the_first_hit_only() -> None:
    assert reciprocal_rank((4, 5)) == 0.25
    assert reciprocal_rank(()) == 0


def test_ndcg_discounts_by_the_logarithm_of_the_place() -> None:
    # found at 1 and 3 of two: (1/log2(2) + 1/log2(4)) / (1/log2(2) + 1/log2(3)) = 1.5 / 1.6309
    assert ndcg_at((1, 3), 2, 10) == pytest.approx(1.5 / (1 + 1 / log2(3)))
    # the hit at 3 is out of reach for k = 2
    assert ndcg_at((1, 3), 2, 2) == pytest.approx(1 / (1 + 1 / log2(3)))


def test_ndcg_of_more_evidence_than_places_can_still_be_one() -> None:
    assert ndcg_at((1, 2), 5, 2) == 1


def test_an_oracle_scores_one_on_every_metric() -> None:
    ranks = evidence_ranks(["a", "b", "c", "d", "e"], {"a", "b"})
    assert recall_at(ranks, 2, 2) == reciprocal_rank(ranks) == ndcg_at(ranks, 2, 10) == 1


def test_a_random_ranking_recalls_k_of_n() -> None:
    draw = random.Random(7)
    items = [str(number) for number in range(200)]
    recalls = []
    for _ in range(2000):
        draw.shuffle(items)
        recalls.append(recall_at(evidence_ranks(items, {"0", "1", "2"}), 3, 20))
    # expected 20 of 200; the standard error of the mean is about 0.17 / sqrt(2000) = 0.004
    assert sum(recalls) / len(recalls) == pytest.approx(0.1, abs=0.016)


def test_recall_within_a_budget_counts_what_is_read_whole() -> None:
    tokens = {"a": 100, "b": 50, "c": 200, "d": 10}
    reads = evidence_reads(["b", "a", "c"], {"a", "c", "d"}, tokens)
    assert reads == (150, 350)  # d was not found
    assert [recall_within(reads, 3, budget) for budget in (149, 150, 349, 350)] == pytest.approx(
        [0, 1 / 3, 1 / 3, 2 / 3]
    )
