"""What training costs: the runs that are measured, and the page of them; the command makes real runs."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from memalpha.errors import InvalidInputError
from memalpha.tasks.ledger import ledger
from memalpha.tasks.ledger.writers import Teacher
from memalpha_trainer.bench import report
from memalpha_trainer.bench.workload import SIZES, score, workload

from .support import written

PARTS = {"rollouts": 1.0, "credit": 0.25, "packing": 0.125, "weights": 0.5, "records": 0.25, "rest": 0.5}
START = {
    "time": "2026-11-26T10:00:00+00:00",
    "cpu": "Some CPU",
    "cores": 2,
    "load_before": 0.1,
    "python": "3.11.7",
    "packages": {"torch": "2.13.0"},
}


def found(outside: float) -> dict[str, Any]:
    return {
        "size": "1M",
        "parameters": 934_528,
        "peak_mib": {"libraries": 500.0, "trainer": 812.4, "policy": 640.0},
        "cpu_ms_per_row": PARTS | {"forward": 5.0, "backward": 9.0, "outside": outside},
        "generated_tokens_per_second": 1234.5,
        "trained_tokens_per_second": 5678.0,
    }


def test_the_table_has_a_line_for_each_size_and_says_what_is_missed() -> None:
    page = report.table(START, [found(2.625), found(3.5)], "bench-2026-11-26.json")
    cells = "934,528 | 812 | 640 | 1,234 | 5,678"
    parts = "1.00 | 0.25 | 0.12 | 0.50 | 0.25 | 0.50 |"
    assert f"| 1M | {cells} | 2.62 | {parts}" in page
    assert f"| 1M | {cells} | 3.50 MISSED | {parts}" in page
    assert "2026-11-26, Some CPU, 2 cores, load 0.1 before, Python 3.11.7, torch 2.13.0" in page
    heads = next(line for line in page.splitlines() if line.startswith("| size"))
    rows = [line for line in page.splitlines() if line.startswith("| 1M")]
    assert {line.count("|") for line in [heads, *rows]} == {14}


@pytest.mark.parametrize(
    ("size", "steps", "said"), [("2M", 2, "sizes must be of 1M"), ("1M", 1, "at least 2")]
)
def test_what_cannot_be_measured_is_refused_before_anything_runs(
    tmp_path: Path, size: str, steps: int, said: str
) -> None:
    with pytest.raises(InvalidInputError, match=said):
        report.bench([size], steps, tmp_path / "out", lambda sentence: None)
    assert not (tmp_path / "out").exists()


def test_every_size_is_a_whole_configuration(tmp_path: Path) -> None:
    for size in SIZES:
        config = workload(size, tmp_path, 3)
        assert (config.rollouts.groups * config.rollouts.group_size, config.optim.steps) == (48, 3)


def test_the_reward_tells_rollouts_apart() -> None:
    rollout = written(Teacher())
    samples = [replace(each, completion_ids=(2, 4, 6, 7)) for each in rollout.samples]
    assert score(replace(rollout, samples=tuple(samples)), ledger(3)) == 0.75
    assert score(replace(rollout, samples=()), ledger(3)) == 0.0
