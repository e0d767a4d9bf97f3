"""Runs of the same configuration, each a process of `memalpha-trainer train`, one after the other.

Each is killed with nothing said to it, some steps after a checkpoint, and resumed. Up to there it was a run
that nobody disturbed: what it wrote after the checkpoint is kept, to be compared with what is written again.
A run that is done is read and not made again.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from memalpha.errors import InternalError, make
from memalpha_trainer.records import Rollout
from memalpha_trainer.runs import lines
from memalpha_trainer.runs.reading import RunFiles

Say = Callable[[str], None]

_CONFIG = Path(__file__).parents[2] / "configs" / "ledger-tiny.toml"
_POLL_SECONDS = 0.2
_LAST_BYTES = 2000


@dataclass(frozen=True, slots=True)
class Plan:
    """What all runs share.

    Attributes:
        model: The checkpoint that they start from.
        out: Folder of runs.
        steps: Optimizer steps.
        every: Steps between checkpoints.
        again: Steps that are done again: a run is killed so many after its first checkpoint.
        more: Settings on top, `table.key=value`.
    """

    model: Path
    out: Path
    steps: int
    every: int
    again: int
    more: tuple[str, ...] = ()


def made(plan: Plan, engine: str, say: Say) -> RunFiles:
    """A run over an engine, killed on its way.

    Raises:
        InternalError: RUN_FAILED.
    """
    run = RunFiles(plan.out / engine)
    if run.path.exists() and run.status().state == "done":
        return run
    if not _kept(run).exists():
        last = plan.every + plan.again
        say(f"{engine}: until step {last} of {plan.steps}, then killed")
        _kill(_started(plan, engine, run), run, last)
        shutil.copyfile(run.rollouts_file, _kept(run))
    say(f"{engine}: resumed after step {plan.every}")
    _end(_started(plan, engine, run, "--resume"), run)
    return run


def before_kill(run: RunFiles) -> Iterator[Rollout]:
    """The rollouts that a run had written when it was killed."""
    return (Rollout.from_json(line) for line in lines.read(_kept(run)))


def _kept(run: RunFiles) -> Path:
    return run.path.with_name(f"{run.path.name}.before-kill.jsonl")


def _started(plan: Plan, engine: str, run: RunFiles, *more: str) -> subprocess.Popen[bytes]:
    settings = [
        f"name='{run.path.name}'",
        f"out='{run.path.parent.resolve()}'",
        f"policy.model='{plan.model.resolve()}'",
        f"policy.engine='{engine}'",
        f"optim.steps={plan.steps}",
        f"save.every={plan.every}",
        # What is compared is training; what is held out is read by neither.
        *("eval.first=false", "eval.streams=1", "eval.units=[1]"),
        *plan.more,
    ]
    start = [sys.executable, "-m", "memalpha_trainer", "train", "--quiet", "--config", str(_CONFIG)]
    plan.out.mkdir(parents=True, exist_ok=True)
    with _log(run).open("ab") as log:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        return subprocess.Popen([*start, *settings, *more], stdout=log, stderr=log, env=environment)


def _kill(process: subprocess.Popen[bytes], run: RunFiles, step: int) -> None:
    while not run.metrics_file.exists() or len(run.metrics()) < step:
        if process.poll() is not None:
            raise _failed(process, run)
        time.sleep(_POLL_SECONDS)
    process.send_signal(signal.SIGKILL)
    process.wait()


def _end(process: subprocess.Popen[bytes], run: RunFiles) -> None:
    try:
        if process.wait():
            raise _failed(process, run)
    finally:
        process.kill()


def _failed(process: subprocess.Popen[bytes], run: RunFiles) -> InternalError:
    last = _log(run).read_bytes()[-_LAST_BYTES:].decode(errors="replace")
    message = f"run {run.path} ended with status {process.returncode}; its log ends with\n{last}"
    return make(InternalError, "RUN_FAILED", message, path=run.path)


def _log(run: RunFiles) -> Path:
    return run.path.with_name(f"{run.path.name}.log")
