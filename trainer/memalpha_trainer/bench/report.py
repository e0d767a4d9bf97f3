"""Measures all sizes, one after the other, and writes `bench-DATE.json` and the table `bench.md`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from memalpha.errors import InternalError, make
from memalpha_trainer.bench.workload import workload
from memalpha_trainer.runs import environment
from memalpha_trainer.runs.files import replace, replace_json

TABLE = "bench.md"
MOST_CPU_MS = 3.0
"""What a row may cost beside generation, forward and backward pass."""
_PARTS = ("rollouts", "credit", "packing", "weights", "records", "rest")
_LAST_BYTES = 2000


def bench(sizes: Sequence[str], steps: int, out: Path, say: Callable[[str], None]) -> Path:
    """Measures and writes; where the table is.

    Args:
        sizes: Of `workload.SIZES`.
        steps: Optimizer steps of each run.
        out: Folder of reports.
        say: Is told of each size.

    Raises:
        InvalidInputError: A size is unknown, or steps are too few.
        InternalError: BENCH_FAILED, with the last lines of a run.
    """
    for size in sizes:
        workload(size, out, steps)
    load = os.getloadavg()[0]
    found: list[dict[str, Any]] = []
    for size in sizes:
        found.append(_measured(size, steps))
        say(f"{size}: {found[-1]['cpu_ms_per_row']['outside']:.2f} ms of CPU a row beside the network")
    described = environment.describe(0, 0, {"load_before": round(load, 1)})
    start = {name: value for name, value in described.items() if name not in ("command", "seed", "step")}
    out.mkdir(parents=True, exist_ok=True)
    name = f"bench-{start['time'][:10]}.json"
    replace_json(out / name, {"start": start, "sizes": found})
    replace(out / TABLE, table(start, found, name))
    return out / TABLE


def table(start: Mapping[str, Any], found: Sequence[Mapping[str, Any]], name: str) -> str:
    """The page.

    Args:
        start: What it ran on (`environment.describe`), with `load_before`.
        found: What `child.measured` returned for each size.
        name: The file of all numbers.
    """
    heads = ["parameters", "trainer, MiB", "policy service, MiB", "generated tokens/s", "trained tokens/s"]
    heads += ["CPU ms a row", *_PARTS]
    lines = [_line(["size", *heads]), _line(["---"] * (len(heads) + 1)), *map(_row, found)]
    return "\n".join([_HEAD, _ran_on(start, name), "", *lines, ""])


_HEAD = f"""# What training costs

`memalpha-trainer bench` makes a short run of each size: 48 rollouts of six chunks of the ledger a step, 24
tokens a chunk, everything on one thread. All numbers but memory are from the second step on.

- **trainer, policy service**: largest resident set of the process, libraries included.
- **generated**: completion tokens by the clock while rollouts are written.
- **trained**: prompt and completion tokens by the clock between collecting and the next step.
- **CPU ms a row**: CPU time of the trainer's process less forward and backward passes; it may be
  {MOST_CPU_MS:g}. Its parts stand behind it: rollouts (the agent's loop, the memory, calls to the service),
  credit, packing, weights (written and probed; they grow with the model), records on disk, and the rest,
  which is the optimizer and its framework.
"""


def _ran_on(start: Mapping[str, Any], name: str) -> str:
    torch = start["packages"].get("torch", "unknown")
    return (
        f"{start['time'][:10]}, {start['cpu']}, {start['cores']} cores, load {start['load_before']} before,"
        f" Python {start['python']}, torch {torch} ([all numbers]({name}))."
    )


def _row(each: Mapping[str, Any]) -> str:
    peak, cpu = each["peak_mib"], each["cpu_ms_per_row"]
    speeds = [each[f"{kind}_tokens_per_second"] for kind in ("generated", "trained")]
    met = "" if cpu["outside"] <= MOST_CPU_MS else " MISSED"
    cells = [f"{each['parameters']:,}", f"{peak['trainer']:,.0f}", f"{peak['policy']:,.0f}"]
    cells += [f"{speed:,.0f}" for speed in speeds]
    cells += [f"{cpu['outside']:.2f}{met}", *(f"{cpu[part]:.2f}" for part in _PARTS)]
    return _line([each["size"], *cells])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _measured(size: str, steps: int) -> dict[str, Any]:
    with TemporaryDirectory() as folder:
        out, log = Path(folder) / "found.json", Path(folder) / "log"
        command = [sys.executable, "-m", "memalpha_trainer.bench.child", size, str(steps), str(out)]
        threads = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        with log.open("wb") as file:
            code = subprocess.call(command, stdout=file, stderr=file, env=os.environ | threads)
        if code or not out.exists():
            last = log.read_bytes()[-_LAST_BYTES:].decode(errors="replace")
            message = f"the run of {size} ended with status {code}; its log ends with\n{last}"
            raise make(InternalError, "BENCH_FAILED", message, size=size, status=code)
        return json.loads(out.read_bytes())
