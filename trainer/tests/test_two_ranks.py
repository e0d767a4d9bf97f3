import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from memalpha.up.ports import free_port

torch: Any = pytest.importorskip("torch", reason="needs torch: uv sync --group train")
pytest.importorskip("trl")

from . import two_ranks  # noqa: E402
from .grpo_support import checkpoint  # noqa: E402

pytestmark = [
    pytest.mark.timeout(1200),
    # Libraries' own, in the process that trains alone.
    pytest.mark.filterwarnings("default"),
]
ROOT = Path(__file__).parents[1]
# Bounds, not measurements: two processes load their libraries first, and one that hangs is given up.
MOST_SECONDS, CONTROL_SECONDS = 900, 90


@dataclass(frozen=True)
class Ranks:
    """Two ranks that have run, and what each saved."""

    model: Path
    folder: Path
    found: tuple[dict[str, Any], dict[str, Any]]


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> Ranks:
    folder = tmp_path_factory.mktemp("ranks")
    model = checkpoint(folder / "model")
    port = free_port("127.0.0.1")
    started = [_start(model, folder, rank, port) for rank in range(2)]
    try:
        _wait(started, folder, "control", MOST_SECONDS)
        _wait(started, folder, "ended", CONTROL_SECONDS)
    finally:
        for each in started:
            each.kill()
            each.wait()
    files = [folder / f"{rank}.pt" for rank in range(2)]
    assert all(each.exists() for each in files), (folder / "0.log").read_text()[-3000:]
    first, second = (torch.load(each) for each in files)
    return Ranks(model, folder, (first, second))


def test_two_ranks_with_unequal_rows_train_as_one_process_does(ranks: Ranks, tmp_path: Path) -> None:
    one, two = ranks.found
    alone = two_ranks.trained(ranks.model, tmp_path)

    # Seven rows in two micro-batches of two for each rank: one place is filled.
    assert (one["rows"], two["rows"], alone["rows"]) == (4, 3, 7)
    assert _difference(one["gradients"], alone["gradients"]) <= 1e-5
    assert _difference(two["gradients"], alone["gradients"]) <= 1e-5
    assert _difference(one["weights"], alone["weights"]) <= 1e-4


def test_both_ranks_end_with_the_same_weights_which_training_has_moved(ranks: Ranks) -> None:
    one, two = (each["weights"] for each in ranks.found)
    before = two_ranks._network(ranks.model).state_dict()

    assert all(torch.equal(value, two[name]) for name, value in one.items())
    assert _difference(one, before) > 1e-3


def test_sharded_parameters_get_the_gradient_of_whole_ones(ranks: Ranks) -> None:
    whole = two_ranks.sharded(ranks.model)

    for found in ranks.found:
        assert _difference(found["sharded"], whole) <= 1e-5


def test_without_filling_ranks_do_not_come_to_an_end(ranks: Ranks) -> None:
    assert all((ranks.folder / f"{rank}.control").exists() for rank in range(2))
    assert not all((ranks.folder / f"{rank}.ended").exists() for rank in range(2))


def _start(model: Path, folder: Path, rank: int, port: int) -> subprocess.Popen[bytes]:
    environment = {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    command = [sys.executable, "-m", "tests.two_ranks", str(model), str(folder), str(rank)]
    with (folder / f"{rank}.log").open("wb") as log:
        return subprocess.Popen(
            command, cwd=ROOT, env=os.environ | environment, stdout=log, stderr=subprocess.STDOUT
        )


def _wait(started: list[subprocess.Popen[bytes]], folder: Path, mark: str, seconds: float) -> None:
    """Until both ranks have left a mark or ended, or one has failed, or time is up."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends and not all((folder / f"{rank}.{mark}").exists() for rank in range(2)):
        codes = [each.poll() for each in started]
        if any(codes) or all(code == 0 for code in codes):
            return
        time.sleep(0.2)


def _difference(found: dict[str, Any], expected: dict[str, Any]) -> float:
    """Largest difference of a number, relative to the largest of the expected ones."""
    largest = max(each.abs().max().item() for each in expected.values())
    return max((found[name] - each).abs().max().item() for name, each in expected.items()) / largest
