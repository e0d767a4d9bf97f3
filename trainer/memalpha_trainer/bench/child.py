"""One size, measured: `python -m memalpha_trainer.bench.child SIZE STEPS OUT.json`.

The run is the one that `memalpha-trainer train` makes; clocks are put around its parts, and read after each
optimizer step, so that what the first one loads is left out. CPU time is the process's, of all its threads;
the policy service is another process, so generation is in none of it.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from accelerate import Accelerator

from memalpha_trainer import building, session
from memalpha_trainer.bench.workload import workload
from memalpha_trainer.grpo import trainer as grpo
from memalpha_trainer.grpo.trainer import ChunkGRPOTrainer
from memalpha_trainer.rollouts.live import LiveRollouts
from memalpha_trainer.runs.observer import RunObserver
from memalpha_trainer.runs.reading import RunFiles

PARTS: dict[str, tuple[tuple[Any, str], ...]] = {
    "forward": ((ChunkGRPOTrainer, "compute_loss"),),
    "backward": ((Accelerator, "backward"),),
    # The agent's loop, the memory, the reader, and the calls to the policy service.
    "rollouts": ((LiveRollouts, "collect"),),
    "credit": ((building, "rows"),),
    "packing": ((grpo, "packed"),),
    "weights": ((ChunkGRPOTrainer, "publish"),),
    "records": tuple((RunObserver, name) for name in ("collected", "scored", "stepped")),
}
"""Functions by the part that they are; none calls one of another part."""


class Clocks:
    """CPU seconds spent in functions that were wrapped, and in all, as they stood at each reading."""

    def __init__(self) -> None:
        """All at zero."""
        self.spent = dict.fromkeys(PARTS, 0.0)
        self.readings: list[tuple[dict[str, float], float]] = []

    def watch(self, part: str, owner: Any, name: str) -> None:
        """Adds what a function of a class or module spends to a part, from now on."""
        function: Callable[..., Any] = getattr(owner, name)

        def watched(*arguments: Any, **named: Any) -> Any:
            begin = time.process_time()
            try:
                return function(*arguments, **named)
            finally:
                self.spent[part] += time.process_time() - begin

        setattr(owner, name, watched)

    def read(self) -> None:
        """Adds a reading."""
        self.readings.append((dict(self.spent), time.process_time()))

    def per_row(self, rows: int) -> dict[str, float]:
        """Milliseconds of each part, of what is in none, and of all that is not the network's.

        Args:
            rows: That were made between the first reading and the last.
        """
        (before, begin), (after, end) = self.readings[0], self.readings[-1]
        each = {part: 1000 * (after[part] - before[part]) / rows for part in after}
        total = 1000 * (end - begin) / rows
        return each | {
            "rest": total - sum(each.values()),
            "outside": total - each["forward"] - each["backward"],
        }


def measured(size: str, steps: int) -> dict[str, Any]:
    """The numbers of a size."""
    clocks = Clocks()
    for part, functions in PARTS.items():
        for owner, name in functions:
            clocks.watch(part, owner, name)
    _read_after_steps(clocks)
    before = _peak(resource.RUSAGE_SELF)
    with TemporaryDirectory() as folder:
        config = workload(size, Path(folder), steps)
        session.train(config, quiet=True)
        run = RunFiles.find(config.folder)
        return {
            "size": size,
            "parameters": _parameters(config.folder),
            "steps": steps,
            "cpu_ms_per_row": clocks.per_row(int(_sum(run, "rows/made"))),
            "peak_mib": {"libraries": before, "trainer": _peak(resource.RUSAGE_SELF)}
            # Of the policy service, the only process that the run waits for.
            | {"policy": _peak(resource.RUSAGE_CHILDREN)},
            **_speeds(run),
        }


def _read_after_steps(clocks: Clocks) -> None:
    stepped = RunObserver.stepped

    def read(self: RunObserver, step: int, numbers: Any) -> None:
        stepped(self, step, numbers)
        clocks.read()

    RunObserver.stepped = read


def _speeds(run: RunFiles) -> dict[str, float]:
    """By the clock, from the second step on."""
    samples = [each for rollout in run.rollouts() if rollout.step for each in rollout.samples]
    written = sum(len(each.completion_ids) for each in samples)
    read = sum(len(each.prompt_ids) for each in samples)
    return {
        "rows_per_step": _sum(run, "rows/made") / (len(run.metrics()) - 1),
        "passed_share": _sum(run, "rows/passed") / _sum(run, "rows/made"),
        "generated_tokens_per_second": written / _sum(run, "seconds/collect"),
        "trained_tokens_per_second": (written + read) / _sum(run, "seconds/train"),
    }


def _sum(run: RunFiles, key: str) -> float:
    return sum(line[key] for line in run.metrics()[1:])


def _parameters(run: Path) -> int:
    """Numbers in the trained checkpoint, a tied head not counted twice."""
    from safetensors import safe_open

    with safe_open(run / session.CHECKPOINT / "model.safetensors", "pt") as file:
        return sum(file.get_tensor(name).numel() for name in file.keys())  # noqa: SIM118 - no mapping


def _peak(whose: int) -> float:
    """Largest resident set so far, in MiB; Linux counts in KiB, macOS in bytes."""
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return resource.getrusage(whose).ru_maxrss / unit


if __name__ == "__main__":
    found = measured(sys.argv[1], int(sys.argv[2]))
    Path(sys.argv[3]).write_text(json.dumps(found), "utf-8")
