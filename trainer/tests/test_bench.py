"""What training costs: the runs that are measured, and the page of them; the command makes real runs."""

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from memalpha.errors import InvalidInputError
from memalpha.tasks.ledger import ledger
from memalpha.tasks.ledger.writers import Teacher
from memalpha_trainer.bench import report
from memalpha_trainer.bench.memory import high_water
from memalpha_trainer.bench.workload import SIZES, score, workload

from .support import written

PARTS = {"rollouts": 1.0, "credit": 0.25, "packing": 0.125, "weights": 0.5, "records": 0.25, "rest": 0.5}
START = {
    "time": "2026-11-26T10:00:00+00:00",
    "cpu": "Some CPU",
    "cores": 2,
    "device": "cpu",
    "load_before": 0.1,
    "python": "3.11.7",
    "packages": {"torch": "2.13.0"},
}


def found(outside: float) -> dict[str, Any]:
    return {
        "size": "1M",
        "parameters": 934_528,
        "device": "cpu",
        "peak_mib": {"libraries": 500.0, "trainer": 812.4, "policy": 640.0},
        "cpu_ms_per_row": PARTS | {"forward": 5.0, "backward": 9.0, "outside": outside},
        "generated_tokens_per_second": 1234.5,
        "trained_tokens_per_second": 5678.0,
        "rows_per_step": 288.0,
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
    # 0.5 and 0.5 of 288 rows, and what is left of 3.5.
    (said,) = (line for line in page.splitlines() if "misses" in line)
    assert "take 288 ms a step, 1.00 ms for each of 288 rows; all else takes 2.50" in said


def test_of_a_gpu_the_table_names_what_was_asked_and_has_the_services_memory_beside_it() -> None:
    peak = {"libraries": 500.0, "trainer": 2812.4, "policy": None, "device": 96.5}
    each = found(2.625) | {"device": "Some GPU", "peak_mib": peak}
    page = report.table(START | {"device": "cuda"}, [each], "bench-cuda-2026-11-26.json")
    assert "2026-11-26, Some GPU, Some CPU, 2 cores" in page
    assert (
        "| parameters | trainer, MiB | torch.cuda.max_memory_allocated, MiB | policy service, MiB |" in page
    )
    assert "| 1M | 934,528 | 2,812 | 96 | – | 1,234 |" in page


def test_what_was_measured_is_kept_when_a_later_size_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measured(size: str, steps: int, device: str) -> dict[str, Any]:
        if size == "5M":
            raise RuntimeError
        return found(2.625)

    monkeypatch.setattr(report, "_measured", measured)
    with pytest.raises(RuntimeError):
        report.bench(["1M", "5M"], 2, tmp_path / "out", lambda sentence: None)
    assert "| 1M | 934,528 |" in (tmp_path / "out" / "bench.md").read_text("utf-8")
    (numbers,) = (tmp_path / "out").glob("bench-*.json")
    assert [each["size"] for each in json.loads(numbers.read_bytes())["sizes"]] == ["1M"]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc tells of a process's memory")
def test_a_services_memory_is_its_own_and_not_that_of_the_process_that_started_it() -> None:
    held = b"m" * (200 << 20)
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(b"x")
        child.stdin.flush()
        child.stdout.read(1)  # it has become another program
        peak = high_water(child.pid)
        child.stdin.close()
    ours = high_water(os.getpid())
    assert peak is not None
    assert ours is not None
    # A program that copies a byte needs a few MiB; this process has more than what it holds here.
    assert peak < 50
    assert ours > len(held) / (1 << 20)
    assert high_water(child.pid) is None


@pytest.mark.parametrize(("device", "exact"), [("cpu", True), ("cuda", False)])
def test_a_gpus_service_does_not_pay_for_bits_that_nobody_claims(
    tmp_path: Path, device: Any, exact: bool
) -> None:
    assert workload("1M", tmp_path, 2, device).policy.batch_invariant is exact


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
