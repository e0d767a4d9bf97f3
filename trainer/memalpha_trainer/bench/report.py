"""Measures sizes one after the other; what was found is written down after each.

On a CPU that is `bench-DATE.json` and the table `bench.md`; on a GPU, `bench-cuda-DATE.json` and
`bench-cuda.md`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from memalpha.errors import InternalError, InvalidInputError, make
from memalpha.files import replace, replace_json
from memalpha_trainer.bench.workload import Device, workload
from memalpha_trainer.runs import environment

MOST_CPU_MS = 3.0
"""What a row may cost beside generation, forward and backward pass."""
_PARTS = ("rollouts", "credit", "packing", "weights", "records", "rest")
_LAST_BYTES = 2000


def bench(
    sizes: Sequence[str], steps: int, out: Path, say: Callable[[str], None], device: Device = "cpu"
) -> Path:
    """Measures and writes; where the table is.

    Args:
        sizes: Of `workload.SIZES`.
        steps: Optimizer steps of each run.
        out: Folder of reports.
        say: Is told of each size.
        device: Of the trainer and the policy service.

    Raises:
        InvalidInputError: A size is unknown, steps are too few, or NO_GPU.
        InternalError: BENCH_FAILED, with the last lines of a run.
    """
    for size in sizes:
        workload(size, out, steps)
    if device == "cuda":
        _require_gpu()
    load = round(os.getloadavg()[0], 1)
    described = environment.describe(0, 0, {"device": device, "load_before": load})
    start = {name: value for name, value in described.items() if name not in ("command", "seed", "step")}
    out.mkdir(parents=True, exist_ok=True)
    page = out / ("bench.md" if device == "cpu" else f"bench-{device}.md")
    found: list[dict[str, Any]] = []
    for size in sizes:
        found.append(_measured(size, steps, device))
        say(f"{size}: {found[-1]['cpu_ms_per_row']['outside']:.2f} ms of CPU a row beside the network")
        _write(page, start, found)
    return page


def _require_gpu() -> None:
    import torch

    if not torch.cuda.is_available():
        raise make(InvalidInputError, "NO_GPU", "torch finds no GPU here: measure with --device cpu")


def _write(page: Path, start: Mapping[str, Any], found: Sequence[Mapping[str, Any]]) -> None:
    numbers = page.with_name(f"{page.stem}-{start['time'][:10]}.json")
    replace_json(numbers, {"start": start, "sizes": found})
    replace(page, table(start, found, numbers.name))


def table(start: Mapping[str, Any], found: Sequence[Mapping[str, Any]], name: str) -> str:
    """The page.

    Args:
        start: What it ran on (`environment.describe`), with `device` and `load_before`.
        found: What `child.measured` returned for each size.
        name: The file of all numbers.
    """
    heads = ["parameters", "trainer, MiB"]
    heads += [] if start["device"] == "cpu" else [_ALLOCATED]
    heads += ["policy service, MiB", "generated tokens/s", "trained tokens/s", "CPU ms a row", *_PARTS]
    lines = [_line(["size", *heads]), _line(["---"] * (len(heads) + 1)), *map(_row, found)]
    return "\n".join([_HEAD, _ran_on(start, found, name), "", *lines, "", *_missed(found)])


_ALLOCATED = "torch.cuda.max_memory_allocated, MiB"
_HEAD = f"""# What training costs

`memalpha-trainer bench` makes a short run of each size: 48 rollouts of six chunks of the ledger a step, 24
tokens a chunk, everything on one thread. All numbers but memory are from the second step on.

- **trainer, policy service**: largest resident set of the process, libraries included. On a GPU
  `{_ALLOCATED}` is what the trainer's tensors took there at most; the service's are not counted.
- **generated**: completion tokens by the clock while rollouts are written.
- **trained**: completion tokens that the loss was of, by the clock between collecting and the next step.
- **CPU ms a row**: CPU time of the trainer's process less forward and backward passes; it may be
  {MOST_CPU_MS:g}. Its parts stand behind it: rollouts (the agent's loop, the memory, calls to the service),
  credit, packing, weights (written, hashed and probed), records on disk, and the rest, which is
  all that no clock was put around: the optimizer, its framework, and whatever else the process does.
  Checkpoints to go on from (`save.every`) are in none of them.
"""


def _ran_on(start: Mapping[str, Any], found: Sequence[Mapping[str, Any]], name: str) -> str:
    torch = start["packages"].get("torch", "unknown")
    accelerator = "" if start["device"] == "cpu" else f"{found[0]['device']}, "
    return (
        f"{start['time'][:10]}, {accelerator}{start['cpu']}, {start['cores']} cores,"
        f" load {start['load_before']} before, Python {start['python']}, torch {torch}"
        f" ([all numbers]({name}))."
    )


def _row(each: Mapping[str, Any]) -> str:
    peak, cpu = each["peak_mib"], each["cpu_ms_per_row"]
    speeds = [each[f"{kind}_tokens_per_second"] for kind in ("generated", "trained")]
    met = "" if cpu["outside"] <= MOST_CPU_MS else " MISSED"
    kinds = [kind for kind in ("trainer", "device", "policy") if kind in peak]
    cells = [f"{each['parameters']:,}"]
    cells += ["–" if peak[kind] is None else f"{peak[kind]:,.0f}" for kind in kinds]
    cells += [f"{speed:,.0f}" for speed in speeds]
    cells += [f"{cpu['outside']:.2f}{met}", *(f"{cpu[part]:.2f}" for part in _PARTS)]
    return _line([each["size"], *cells])


def _missed(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """Of sizes that miss the bar, what is of weights and in no part, by the step as well."""
    missed = [each for each in found if each["cpu_ms_per_row"]["outside"] > MOST_CPU_MS]
    return [*map(_of_a_step, missed), *[""] * bool(missed)]


def _of_a_step(each: Mapping[str, Any]) -> str:
    cpu = each["cpu_ms_per_row"]
    step, rows = cpu["weights"] + cpu["rest"], each["rows_per_step"]
    return (
        f"- {each['size']} misses: weights and the rest take {step * rows:,.0f} ms a step, {step:.2f} ms for"
        f" each of {rows:.0f} rows; all else takes {cpu['outside'] - step:.2f} ms a row."
    )


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _measured(size: str, steps: int, device: Device) -> dict[str, Any]:
    with TemporaryDirectory() as folder:
        out, log = Path(folder) / "found.json", Path(folder) / "log"
        command = [sys.executable, "-m", "memalpha_trainer.bench.child", size, str(steps), device, str(out)]
        # What no process sees it does not use, neither the trainer nor the service that it starts.
        hidden = {"CUDA_VISIBLE_DEVICES": ""} if device == "cpu" else {}
        settings = os.environ | {"OMP_NUM_THREADS": "1"} | hidden
        with log.open("wb") as file:
            code = subprocess.call(command, stdout=file, stderr=file, env=settings)
        if code or not out.exists():
            last = log.read_bytes()[-_LAST_BYTES:].decode(errors="replace")
            message = f"the run of {size} ended with status {code}; its log ends with\n{last}"
            raise make(InternalError, "BENCH_FAILED", message, size=size, status=code)
        return json.loads(out.read_bytes())
