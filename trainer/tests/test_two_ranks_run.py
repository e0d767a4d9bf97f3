"""A whole run by two ranks: one folder, one policy service, and an end that both come to.

Steps are counted and no bits are compared: how two ranks add up is up to the library.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("trl")

from memalpha.up.ports import free_port
from memalpha_trainer.grpo.resume import latest
from memalpha_trainer.runs.reading import RunFiles

pytestmark = [pytest.mark.timeout(1800), pytest.mark.long]

BANDIT = Path(__file__).parents[1] / "configs" / "bandit.toml"
SMALL = (
    *("rollouts.groups=2", "rollouts.group_size=3", "policy.rows=8"),
    *("optim.threads=1", "save.every=1000", "eval.first=false", "eval.streams=2"),
)
# A rank that waits for one that is gone waits for a day; this is for a busy machine.
MOST_SECONDS = 900


def started(folder: Path, *more: str) -> list[subprocess.Popen[bytes]]:
    """Both ranks of a run. What they say goes to files: a pipe that nobody reads would block them."""
    port = free_port("127.0.0.1")
    command = [sys.executable, "-m", *_training(folder, *more)]
    ranks = []
    for rank in range(2):
        with _said(folder, rank).open("ab") as log:
            ranks.append(subprocess.Popen(command, stderr=log, env=_environment(rank, port)))
    return ranks


def ended(folder: Path, ranks: list[subprocess.Popen[bytes]], seconds: float = MOST_SECONDS) -> list[int]:
    """The exit status of each; ranks that do not end are ended, and count as -9."""
    give_up = time.monotonic() + seconds
    try:
        for each in ranks:
            each.wait(max(0.0, give_up - time.monotonic()))
    except subprocess.TimeoutExpired:
        pass
    finally:
        for each in ranks:
            each.kill()
    print(*(_said(folder, rank).read_text() for rank in range(len(ranks))), sep="\n")
    return [each.wait() for each in ranks]


def until(true: Callable[[], bool], folder: Path, ranks: list[subprocess.Popen[bytes]]) -> None:
    while not true():
        if any(each.poll() is not None for each in ranks):
            pytest.fail(f"a rank ended too soon: {ended(folder, ranks, 0)}")
        time.sleep(0.1)


def test_a_signal_to_one_rank_ends_both_with_a_checkpoint_and_both_go_on_at_its_step(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    metrics = folder / "metrics.jsonl"
    ranks = started(folder, "optim.steps=1000")
    until(lambda: metrics.exists() and metrics.stat().st_size > 0, folder, ranks)
    ranks[1].send_signal(signal.SIGINT)
    assert ended(folder, ranks) == [130, 130]
    run = RunFiles.find(folder)
    stopped = run.status()
    assert stopped.state == "stopped"
    found = latest(run.checkpoints, 1)
    assert found is not None
    assert found.name == f"checkpoint-{stopped.step}"

    last = stopped.step + 1
    assert ended(folder, started(folder, f"optim.steps={last}", "--resume")) == [0, 0]
    assert run.status().state == "done"
    # One folder, written by one of the two.
    assert [line["step"] for line in run.metrics()] == list(range(1, last + 1))
    assert [len(list(run.rollouts(step))) for step in range(last)] == [6] * last
    assert (folder / "checkpoint" / "memalpha.json").is_file()


@pytest.mark.parametrize(("patience", "state"), [("900", "stopped"), ("0", "died")])
def test_a_launcher_that_is_interrupted_leaves_its_ranks_as_long_as_it_is_told_to(
    tmp_path: Path, patience: str, state: str
) -> None:
    folder = tmp_path / "run"
    metrics = folder / "metrics.jsonl"
    launcher = launched(folder, patience, "optim.steps=1000")
    until(lambda: metrics.exists() and metrics.stat().st_size > 0, folder, [launcher])
    launcher.send_signal(signal.SIGINT)
    assert ended(folder, [launcher]) != [0]
    run = RunFiles.find(folder)
    assert run.status().state == state
    found = latest(run.checkpoints, 1)
    # The control: ranks that are killed at once leave no checkpoint, since none was due.
    assert (found and found.name) == (f"checkpoint-{run.status().step}" if state == "stopped" else None)


def launched(folder: Path, patience: str, *more: str) -> subprocess.Popen[bytes]:
    """Both ranks, by torch's launcher."""
    launcher = [
        "torch.distributed.run",
        "--nproc-per-node=2",
        f"--master-port={free_port('127.0.0.1')}",
        "-m",
    ]
    with _said(folder, 0).open("ab") as log:
        environment = _usual() | {"TORCH_ELASTIC_SHUTDOWN_TIMEOUT": patience}
        command = [sys.executable, "-m", *launcher, *_training(folder, *more)]
        return subprocess.Popen(command, stderr=log, env=environment)


def _training(folder: Path, *more: str) -> list[str]:
    settings = [f"out='{folder.parent}'", f"name='{folder.name}'", *SMALL, *more]
    return ["memalpha_trainer", "train", "--config", str(BANDIT), *settings]


def _said(folder: Path, rank: int) -> Path:
    return folder.with_name(f"{folder.name}.{rank}.log")


def _environment(rank: int, port: int) -> dict[str, str]:
    place = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return _usual() | place | meeting


def _usual() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
