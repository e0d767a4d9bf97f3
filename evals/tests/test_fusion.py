"""The choice of a weight, and the sweep that it is made from, on the hand-made conversation."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from memalpha.tasks.stats import Difference, Interval
from memalpha_evals.datasets import locomo
from memalpha_evals.retrieval.fusion import WEIGHTS, best_weight, searches, sweep

TINY = Path(__file__).parent / "data" / "tiny_locomo.json"


def evals(*arguments):
    command = [sys.executable, "-m", "memalpha_evals", "store", "fusion", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def gain(mean, low=0.0, high=None):
    interval = None if high is None else Interval(low, high)
    return Difference(mean=mean, interval=interval, questions=100, clusters=10, better=0, worse=0)


def test_the_best_weight_gains_most_among_those_that_clearly_lose_nowhere() -> None:
    # means 0, 0.02, 0.03 and 0.1; the third may lose on the second set, the last one clearly does
    gains = {
        0.0: [gain(0, 0, 0), gain(0, 0, 0)],
        0.3: [gain(0.04, 0.01, 0.07), gain(0.0, -0.02, 0.02)],
        0.4: [gain(0.07, 0.01, 0.13), gain(-0.01, -0.03, 0.01)],
        0.5: [gain(0.3, 0.2, 0.4), gain(-0.1, -0.2, 0.0)],
    }
    assert best_weight(gains) == 0.4


def test_without_an_interval_any_loss_counts() -> None:
    assert best_weight({0.3: [gain(0.0)], 0.4: [gain(0.5), gain(-0.01)]}) == 0.3


def test_of_equal_weights_the_smaller_is_best() -> None:
    assert best_weight({0.5: [gain(0.1)], 0.4: [gain(0.1)]}) == 0.4


def test_there_is_no_best_weight_if_all_lose_somewhere() -> None:
    assert best_weight({0.4: [gain(0.3), gain(-0.1)], 0.5: [gain(-0.1), gain(0.3)]}) is None


def test_a_sweep_scores_each_question_of_the_overall_row_in_every_way() -> None:
    dataset = locomo.read(TINY)
    answered = []
    found = sweep(dataset, "builtin", answered.append)
    assert sum(answered) == searches(dataset) == 4 * (3 + len(WEIGHTS))
    # ten places for five turns: what has a vector is always found; by words the violin's turn is not
    assert found.recalls["words"] == [1, 1, 1, 0]
    assert found.recalls["vectors"] == found.recalls["0.50"] == [1, 1, 1, 1]
    assert found.gain("0.50").mean == pytest.approx(1 / 4)
    assert found.clusters == ["conv-1"] * 4


def test_the_command_prints_the_chosen_weight_and_the_documented_keys() -> None:
    done = evals("--data", f"locomo={TINY}", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert set(document) == {"embedder", "metric", "baseline", "chosen", "sets"}
    assert document["sets"][0]["ways"]["words"] == {"mean": 0.75, "gain": 0.0, "interval": None}
    assert document["chosen"] in WEIGHTS


def test_the_table_has_a_column_for_each_set() -> None:
    done = evals("--data", f"locomo={TINY}", "--data", f"locomo={TINY}")
    assert done.returncode == 0, done.stderr
    assert "75.0 +0.0" in done.stdout
    assert "…" not in done.stdout
    assert "has the largest mean gain" in done.stdout


@pytest.mark.parametrize("argument", ["locomo", "locomo=", "other=x.json"])
def test_a_set_is_named_with_its_path(argument) -> None:
    done = evals("--data", argument)
    assert done.returncode == 2
    assert "must be NAME=PATH" in done.stderr
