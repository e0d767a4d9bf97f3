"""One size, measured: `python -m memalpha_trainer.bench.child SIZE STEPS DEVICE OUT.json`.

The run is the one that `memalpha-trainer train` makes; clocks are put around its parts, and read after each
optimizer step, so that what the first one loads is left out. CPU time is the process's, of all its threads;
the policy service is another process, so generation is in none of it. A GPU works on while its caller goes
on: there a part ends when the GPU is done, and waiting for it counts as that part.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import torch
from accelerate import Accelerator

from memalpha_trainer import building, served, session
from memalpha_trainer.bench.memory import high_water
from memalpha_trainer.bench.workload import Device, workload
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

    def __init__(self, settled: Callable[[], object] = lambda: None) -> None:
        """All at zero; `settled` returns when what was asked of the device is done."""
        self._settled = settled
        self.spent = dict.fromkeys(PARTS, 0.0)
        self.readings: list[tuple[dict[str, float], float]] = []

    def watch(self, part: str, owner: Any, name: str) -> None:
        """Adds what a function of a class or module spends to a part, from now on."""
        function: Callable[..., Any] = getattr(owner, name)

        def watched(*arguments: Any, **named: Any) -> Any:
            self._settled()
            begin = time.process_time()
            try:
                return function(*arguments, **named)
            finally:
                self._settled()
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


def measured(size: str, steps: int, device: Device) -> dict[str, Any]:
    """The numbers of a size."""
    clocks = Clocks(torch.cuda.synchronize) if device == "cuda" else Clocks()
    for part, functions in PARTS.items():
        for owner, name in functions:
            clocks.watch(part, owner, name)
    _read_after_steps(clocks)
    services = _stopped_services()
    before = _peak()
    with TemporaryDirectory() as folder:
        config = workload(size, Path(folder), steps, device)
        session.train(config, quiet=True)
        run = RunFiles.find(config.folder)
        return {
            "size": size,
            "parameters": _parameters(config.folder),
            "steps": steps,
            "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
            "cpu_ms_per_row": clocks.per_row(int(_sum(run, "rows/made"))),
            "peak_mib": {"libraries": before, "trainer": _peak(), "policy": services[0]}
            | ({"device": torch.cuda.max_memory_allocated() / (1 << 20)} if device == "cuda" else {}),
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
    return {
        "rows_per_step": _sum(run, "rows/made") / (len(run.metrics()) - 1),
        "passed_share": _sum(run, "rows/passed") / _sum(run, "rows/made"),
        "generated_tokens_per_second": written / _sum(run, "seconds/collect"),
        "trained_tokens_per_second": _sum(run, "rows/passed_tokens") / _sum(run, "seconds/train"),
    }


def _sum(run: RunFiles, key: str) -> float:
    return sum(line[key] for line in run.metrics()[1:])


def _parameters(run: Path) -> int:
    """Numbers in the trained checkpoint, a tied head not counted twice."""
    from safetensors import safe_open

    with safe_open(run / session.CHECKPOINT / "model.safetensors", "pt") as file:
        return sum(file.get_tensor(name).numel() for name in file.keys())  # noqa: SIM118 - no mapping


def _stopped_services() -> list[float | None]:
    """The peaks of policy services, one for each from now on, as it stands before it is stopped."""
    found: list[float | None] = []
    stop = served.stop

    def stopping(process: subprocess.Popen[bytes]) -> None:
        found.append(high_water(process.pid))
        stop(process)

    served.stop = stopping
    return found


def _peak() -> float:
    """This process's largest resident set so far, in MiB; Linux counts in KiB, macOS in bytes."""
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


if __name__ == "__main__":
    _, size, steps, device, out = sys.argv
    Path(out).write_text(json.dumps(measured(size, int(steps), cast(Device, device))), "utf-8")
