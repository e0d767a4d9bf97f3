"""Runs of the same configuration, each a process of `memalpha-trainer train`, one after the other.

Each is killed with nothing said to it, some steps after a checkpoint, and resumed. Up to there it was a run
that nobody disturbed: what it wrote after the checkpoint is kept, to be compared with what is written again.
A run that is done is read and not made again.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from engines_bench.plan import CONFIG, Plan
from memalpha.errors import BusyError, InternalError, make
from memalpha_trainer.config import quoted
from memalpha_trainer.records import Rollout
from memalpha_trainer.runs import lines, lock
from memalpha_trainer.runs.reading import RunFiles

Say = Callable[[str], None]

_POLL_SECONDS = 0.2
_LAST_BYTES = 2000


def made(plan: Plan, engine: str, say: Say) -> RunFiles:
    """A run over an engine, killed on its way.

    Raises:
        BusyError: RUN_IN_USE: another process works on it.
        InternalError: RUN_FAILED.
    """
    run = RunFiles(plan.out / engine)
    if lock.held(run.lock_file):
        message = f"run {run.path} is in use: wait until it has ended, or choose another --out"
        raise make(BusyError, "RUN_IN_USE", message, path=run.path)
    if run.status_file.exists() and run.status().state == "done":
        return run
    if not _kept(run).exists():
        # One that was not yet killed is not known to have been left alone.
        shutil.rmtree(run.path, ignore_errors=True)
        last = plan.every + plan.again
        say(f"{engine}: until step {last} of {plan.steps}, then killed")
        _kill(_started(plan, engine, run), run, last)
        _keep(run)
    say(f"{engine}: resumed after step {plan.every}")
    _end(_started(plan, engine, run, "--resume"), run)
    return run


def before_kill(run: RunFiles) -> Iterator[Rollout]:
    """The rollouts that a run had written when it was killed."""
    return (Rollout.from_json(line) for line in lines.read(_kept(run)))


def _kept(run: RunFiles) -> Path:
    return run.path.with_name(f"{run.path.name}.before-kill.jsonl")


def _keep(run: RunFiles) -> None:
    draft = _kept(run).with_suffix(".draft")
    shutil.copyfile(run.rollouts_file, draft)
    draft.replace(_kept(run))


def _started(plan: Plan, engine: str, run: RunFiles, *more: str) -> subprocess.Popen[bytes]:
    settings = [
        f"name={quoted(run.path.name)}",
        f"out={quoted(run.path.parent.resolve())}",
        f"policy.model={quoted(plan.model.resolve())}",
        f"policy.engine={quoted(engine)}",
        f"optim.steps={plan.steps}",
        f"save.every={plan.every}",
        # What is compared is training; what is held out is read by neither.
        *("eval.first=false", "eval.streams=1", "eval.units=[1]"),
        *plan.more,
    ]
    start = [sys.executable, "-m", "memalpha_trainer", "train", "--quiet", "--config", str(CONFIG)]
    with _log(run).open("ab") as log:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        return subprocess.Popen([*start, *settings, *more], stdout=log, stderr=log, env=environment)


def _kill(process: subprocess.Popen[bytes], run: RunFiles, step: int) -> None:
    try:
        while len(run.metrics()) < step:
            if process.poll() is not None:
                raise _failed(process, run)
            time.sleep(_POLL_SECONDS)
    finally:
        process.kill()
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
