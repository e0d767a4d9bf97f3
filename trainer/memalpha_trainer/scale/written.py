"""Dry runs of one configuration, written down: all weights and adapters, on all its ranks and on one.

On one rank a pass takes as many rows as on each of many, by more micro-batches. `dry-run-DATE.json` has all
numbers, `dry-run.md` the tables and what each run printed; both are of the same reports.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from memalpha.files import replace, replace_json
from memalpha_trainer.config import resolve
from memalpha_trainer.runs import environment
from memalpha_trainer.scale.dry_run import Report, dry_run, gib, two_digits

Overrides = tuple[str, ...]
Run = tuple[str, Overrides, Report]
"""What it comes to, what it changes, and what was found."""
_NOT_TOLD = ("command", "seed", "step", "threads")
_PARTS = ("parameters", "gradients", "optimizer", "reference", "forward", "peak")


def variants(file: Path, lora_rank: int) -> dict[str, Overrides]:
    """Overrides by what they come to.

    Args:
        file: The configuration, of several ranks.
        lora_rank: Of the adapters.
    """
    config = resolve(file, [])
    world, passes = config.scale.world, config.optim.micro_batches
    one: Overrides = ("scale.world=1", f"optim.micro_batches={passes * world}")
    adapters: Overrides = (f"optim.lora_rank={lora_rank}",)
    whole: Overrides = ("optim.lora_rank=0",) if config.optim.lora_rank else ()
    named = {"all weights": whole, f"adapters of rank {lora_rank}": adapters}
    return {
        f"{what}, {ranks}": (*chosen, *more)
        for what, chosen in named.items()
        for ranks, more in ((f"{world} ranks", Overrides()), ("1 rank", one))
    }


def write(file: Path, lora_rank: int, out: Path, say: Callable[[str], None]) -> Path:
    """Makes the dry runs and writes them down; where the page is.

    Args:
        file: As of `variants`, as is `lora_rank`.
        lora_rank: See there.
        out: Folder of reports.
        say: Is told what is done.

    Raises:
        InvalidInputError, UnsupportedError: As `dry_run`.
    """
    found: list[Run] = []
    for name, overrides in variants(file, lora_rank).items():
        say(name)
        found.append((name, overrides, dry_run(resolve(file, list(overrides)), say=say)))
    return _write(file, lora_rank, found, out)


def _write(file: Path, lora_rank: int, found: Sequence[Run], out: Path) -> Path:
    described = environment.describe(0, 0, {})
    start = {name: value for name, value in described.items() if name not in _NOT_TOLD}
    out.mkdir(parents=True, exist_ok=True)
    numbers, written = out / f"dry-run-{start['time'][:10]}.json", out / "dry-run.md"
    runs = [told(name, overrides, report) for name, overrides, report in found]
    replace_json(numbers, {"start": start, "config": str(file), "runs": runs})
    replace(written, page(file, lora_rank, start, found, numbers.name))
    return written


def told(name: str, overrides: Overrides, report: Report) -> dict[str, Any]:
    """A report as JSON has it."""
    parts = {"model": report.model, "plan": report.plan, "assumed": report.assumed}
    return {
        "name": name,
        "overrides": list(overrides),
        **{part: asdict(each) for part, each in parts.items()},
        "memories": [asdict(each) for each in report.memories],
        "usable": report.usable,
        "fits": report.fits,
        "verdict": report.verdict(),
    }


def page(file: Path, lora_rank: int, start: Mapping[str, Any], found: Sequence[Run], numbers: str) -> str:
    """The page.

    Args:
        file: The configuration.
        lora_rank: Of the adapters.
        start: What it ran on (`environment.describe`).
        found: The runs.
        numbers: The file of all numbers.
    """
    first = found[0][2]
    config = first.config
    text = _PAGE.format(
        name=file.stem,
        file=file,
        lora_rank=lora_rank,
        date=start["time"][:10],
        torch=start["packages"].get("torch", "unknown"),
        numbers=numbers,
        tokens=config.scale.prompt_tokens + config.agent.max_new_tokens,
        usable=gib(first.usable),
        gpu=config.scale.gpu_gib,
        memory="\n".join(_memory(found)),
        rollouts=first.plan.rollouts,
        updates=first.plan.updates,
        cost="\n".join(_cost(found)),
    )
    return text + "".join(_printed(file, *each) for each in found)


_PAGE = """# What training {name} would take

`just dry-run --config {file} --lora-rank {lora_rank}` builds the model on the meta
device and takes one step of one rank under fake tensors; no GPU was used. {date}, torch {torch}
([all numbers]({numbers})).

## Memory of a rank

By live tensors, with rows of {tokens:,} tokens, in GiB; {usable} of {gpu:g} may be used, since on a GPU the
process held 3 to 14 GiB more than these (docs/policy.md, "On a GPU"). Checkpointing is of activations, which
are computed again. It is the trainer's memory alone: the policy service, and the models that answer and
judge, need theirs, on GPUs beside these or in what a rank leaves of its own (`MEMALPHA_POLICY__GPU_MEMORY`).

{memory}

## Cost of a collection

Of {rollouts:,} rollouts and {updates} optimizer steps; GPU-hours of work, by the speeds that are below.

{cost}

## As printed
"""


def _printed(file: Path, name: str, overrides: Overrides, report: Report) -> str:
    command = " ".join(["python trainer/run.py --config", str(file), "--dry-run", *overrides])
    return f"\n### {name}\n\n`{command}`\n\n```\n{report.render()}\n```\n"


def _memory(found: Sequence[Run]) -> list[str]:
    heads = [
        "run",
        "trained",
        "rows a pass",
        "checkpointing",
        *_PARTS[:-2],
        "kept for backward",
        "peak",
        "fits",
    ]
    rows = [
        [
            *(name, f"{report.model.trained:,}", str(report.plan.micro_rows)),
            "on" if memory.checkpointing else "off",
            *(gib(getattr(memory, part)).removesuffix(" GiB") for part in _PARTS),
            "yes" if memory.peak <= report.usable else "no",
        ]
        for name, _, report in found
        for memory in report.memories
    ]
    return _table(heads, rows)


def _cost(found: Sequence[Run]) -> list[str]:
    hours = list(found[0][2].plan.gpu_hours)
    counts = ["rows", "prompt_tokens", "completion_tokens", "reader_calls", "judge_calls"]
    heads = ["run", *(each.replace("_", " ") for each in counts), *hours, "GPU-hours"]
    rows = [
        [
            name,
            *(f"{getattr(report.plan, each):,}" for each in counts),
            *(two_digits(each) for each in report.plan.gpu_hours.values()),
            two_digits(sum(report.plan.gpu_hours.values())),
        ]
        for name, _, report in found
    ]
    return _table(heads, rows)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(each)} |" for each in (heads, ["---"] * len(heads), *rows)]
