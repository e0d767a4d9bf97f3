"""Scores by hand."""

import pytest

from memalpha.errors import UnsupportedError
from memalpha.tasks import METRICS, Metric
from memalpha.tasks.scoring import score


@pytest.mark.parametrize(
    ("metric", "answer", "right", "expected"),
    [
        ("strict", " Oslo\n", "Oslo", 1),
        ("strict", "oslo", "Oslo", 0),
        ("exact_match", "The Oslo.", "oslo", 1),
        ("exact_match", "in Oslo", "oslo", 0),
        # said 3 words, wanted 2, both of them common: 2 * 2 / 5
        ("f1", "red old boat", "the red boat", 0.8),
        # a word said twice counts once: 2 * 1 / 3
        ("f1", "boat boat", "boat", 2 / 3),
        ("f1", "", "boat", 0),
        ("substring", "He lives in OSLO now", "Oslo", 1),
        ("substring", "He lives in Os lo", "Oslo", 0),
        ("parts", "Red, and perhaps GREEN", "red; green;blue", 2 / 3),
        ("label", r"so \boxed{12}, not \boxed{13}", "12", 1),
        ("label", r"\boxed{'12'}", "12", 1),
        ("label", "12", "12", 0),
        ("label", r"\boxed{twelve}", "twelve", 0),
        ("keywords", "A whale and a ship", "whale, ship, sea, captain", 0.5),
        # longest common subsequence "cat sat mat" of 5 and 4 words: 2 * 3 / 9
        ("rouge_l", "cat sat on soft mat", "cat sat under mat", 2 / 3),
        # order matters here, and does not for f1
        ("rouge_l", "mat cat", "cat mat", 0.5),
        ("f1", "mat cat", "cat mat", 1),
    ],
)
def test_an_answer_scores(metric: Metric, answer: str, right: str, expected: float) -> None:
    assert score(metric, answer, [right]) == pytest.approx(expected)


def test_the_best_of_the_right_answers_counts() -> None:
    assert score("strict", "Oslo", ["Christiania", "Oslo"]) == 1


def test_a_models_thought_is_no_part_of_its_answer() -> None:
    assert score("substring", "<think>Oslo?</think>Bergen", ["Oslo"]) == 0
    assert score("substring", "<think>Bergen?</think>Oslo", ["Oslo"]) == 1
    assert score("substring", "<think>it must be Oslo", ["Oslo"]) == 0


def test_only_the_judge_cannot_be_computed() -> None:
    for metric in METRICS:
        if metric != "judge":
            assert 0 <= score(metric, "a", ["b"]) <= 1  # type: ignore[arg-type]
    with pytest.raises(UnsupportedError, match="metric judge needs a model") as refused:
        score("judge", "a", ["b"])
    assert refused.value.reason == "NEEDS_JUDGE"
