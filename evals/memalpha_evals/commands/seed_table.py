"""The command `seed-table`: the cells that Mem-alpha is published for, with ours beside them."""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import date
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from memalpha.agent.presets import PRESETS
from memalpha.files import replace
from memalpha_evals import endpoints, pages, suites, systems
from memalpha_evals.commands.options import WriteDocs, words
from memalpha_evals.runs.compose import READER_FORMS
from memalpha_evals.scheduler import Limits, Outage
from memalpha_evals.seed_table import page, plans, published
from memalpha_evals.seed_table.before import DOCUMENT, earlier
from memalpha_evals.seed_table.made import Made
from memalpha_evals.seed_table.plans import Job, Settings, Size
from memalpha_evals.seed_table.published import Cell, chosen
from memalpha_evals.seed_table.reprint import reprinted
from memalpha_evals.seed_table.running import carry_out
from memalpha_evals.seed_table.taking import take_finished

INTERRUPTED, FAILED = 130, 1
"""Exit codes of a table that was stopped by a person; by what it needs, or has a cell without an answer."""
_WIDEST = 240

_PLAN_HEADER = [
    "cell",
    "suite",
    "conversations",
    "questions",
    "chunks",
    "tokens read",
    "budget",
    "tokens given",
]


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("seed-table")(seed_table)


def seed_table(
    context: typer.Context,
    data: Annotated[
        Path | None,
        typer.Option(
            help=f"Folder of all data; unset: the one that {suites.VARIABLE} names.", show_default=False
        ),
    ] = None,
    names: Annotated[
        list[str] | None,
        typer.Option(
            "--systems",
            help=f"Of {', '.join(systems.NAMES)}, between commas, or repeat. Unset: memalpha.",
            show_default=False,
        ),
    ] = None,
    policy: Annotated[str, typer.Option(help=f"What writes memory: {endpoints.FORMS}.")] = "extractive",
    reader: Annotated[
        str, typer.Option(help=f"What answers: {READER_FORMS}; unset: nobody, and nothing is run.")
    ] = "",
    preset: Annotated[str, typer.Option(help=f"How memalpha reads: {', '.join(PRESETS)}.")] = "default",
    cells: Annotated[
        list[str] | None,
        typer.Option(help="Names of cells between commas, or repeat; unset: all.", show_default=False),
    ] = None,
    questions: Annotated[int, typer.Option(min=0, help="Most of each cell; 0: as its protocol says.")] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Of every call; the draw is the protocol's.")] = 42,
    out: Annotated[Path, typer.Option(help="The table's folder, with one run for each cell.")] = Path(
        "runs/seed-table"
    ),
    slots: Annotated[int, typer.Option(min=1, max=100_000, help="Most calls in flight.")] = 32,
    plumbing: Annotated[
        bool,
        typer.Option("--plumbing", help="The reader is a model for tests, which an address does not tell."),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count what would be read and asked.")] = False,
    reprint: Annotated[
        bool,
        typer.Option("--reprint", help="The table of --out again, from its runs; no model and no data."),
    ] = False,
    brief: Annotated[
        bool,
        typer.Option(
            "--brief",
            help="An untrained model for tests writes and reads; made below --out, needs torch.",
        ),
    ] = False,
    write_docs: WriteDocs = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """The cells that Mem-alpha is published for, its figures and the best beside them, with ours.

    Example: evals seed-table --data DATA --policy HOST:PORT --reader openai:MODEL

    The same command goes on where it was stopped, and takes other cells of --out that were finished with the
    same settings, data and models. Figures of a reader that is no model, or one for tests, are plumbing and
    stand apart.
    """
    if write_docs:
        page.require_page()
    if reprint:
        _require_alone(context)
        _finish(*reprinted(out), out, as_json, write_docs)
        return
    _require_folder(data)
    if brief:
        # one name, however the folder was named
        policy = reader = _made_brief(context, out.resolve())
    wanted, named = chosen(",".join(cells or ())), words(names or ["memalpha"])
    settings = Settings(data, named, policy, reader, preset, questions, seed)
    jobs = plans.jobs(wanted, settings)
    if dry_run:
        _plan(jobs, as_json)
        return
    before = earlier(out)
    made = _carried_out(jobs, out, slots)
    take_finished(made, out, settings, before)
    made.plumbing |= plumbing
    _finish(_with_finished(wanted, made), made, settings, out, as_json, write_docs)


def _require_folder(data: Path | None) -> None:
    root = plans.root_of(data)
    if root and not root.is_dir():
        rule = f"must be the folder of all data, and there is no folder {root}"
        raise typer.BadParameter(rule, param_hint="--data")


def _with_finished(wanted: tuple[Cell, ...], made: Made) -> tuple[Cell, ...]:
    """Cells that are wanted, and behind them the others that have figures, or a reason why not."""
    others = [cell for cell in published.cells() if cell not in wanted]
    return (*wanted, *(each for each in others if made.ours.get(each.name) or each.name in made.reasons))


def _made_brief(context: typer.Context, out: Path) -> str:
    """The model for tests, unless another one was named as well."""
    from memalpha_evals.seed_table.brief import brief  # loads torch

    for name in ("policy", "reader"):
        if _is_named(context, name):
            raise typer.BadParameter("is the brief model with --brief", param_hint=f"--{name}")
    return brief(out / "brief")


def _is_named(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return bool(source) and source.name == "COMMANDLINE"


def _require_alone(context: typer.Context) -> None:
    """Refuses words that a table that is printed again has from its document."""
    for name in context.params:
        if name not in ("out", "reprint", "as_json", "write_docs") and _is_named(context, name):
            option = "--systems" if name == "names" else f"--{name.replace('_', '-')}"
            rule = "is the table's own: only --out, --json and --write-docs go with --reprint"
            raise typer.BadParameter(rule, param_hint=option)


def _finish(
    cells: tuple[Cell, ...], made: Made, settings: Settings, out: Path, as_json: bool, write_docs: bool
) -> None:
    _write(cells, made, settings, out, as_json)
    if write_docs:
        written = page.write_docs(cells, made, settings, made.date or date.today().isoformat())
        print(f"written: {written}", file=sys.stderr)
    if made.failed:
        print(f"every question failed: {', '.join(made.failed)}", file=sys.stderr)
        raise typer.Exit(FAILED)


def _carried_out(jobs: list[Job], out: Path, slots: int) -> Made:
    try:
        return asyncio.run(carry_out(jobs, out, Limits(slots)))
    except KeyboardInterrupt:
        print("stopped; the same command goes on", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None
    except Outage as outage:
        print(f"{outage}; the same command goes on", file=sys.stderr)
        raise typer.Exit(FAILED) from None
    except OSError as error:
        print(f"a run cannot be written: {error}; the same command goes on", file=sys.stderr)
        raise typer.Exit(FAILED) from None


def _write(cells: tuple[Cell, ...], made: Made, settings: Settings, out: Path, as_json: bool) -> None:
    content = page.document(cells, made, settings)
    kept = _keeps(out, made)
    if not kept:
        out.mkdir(parents=True, exist_ok=True)
        replace(out / DOCUMENT, [json.dumps(content, indent=1, ensure_ascii=False) + "\n"])
        replace(out / page.MARKDOWN, [page.markdown(cells, made, settings)])
    if as_json:
        print(json.dumps(content))
    else:
        pages.show(page.tables(cells, made), _plain())
    if kept:
        print(
            f"{out / page.MARKDOWN} stays as it is: it has figures, and this table has none", file=sys.stderr
        )
    elif not as_json:
        print(f"written: {out / page.MARKDOWN}")


def _keeps(out: Path, made: Made) -> bool:
    """Whether a folder's table stays: it has figures, which one without any would take from `--reprint`."""
    before = None if any(made.ours.values()) else earlier(out)
    return before is not None and before.has_figures


def _plan(jobs: list[Job], as_json: bool) -> None:
    jobs, sizes = plans.sized(jobs)
    if as_json:
        print(json.dumps({"cells": [_counted(job, sizes.get(job.cell.name)) for job in jobs]}))
        return
    pages.show([("Plan; nothing is run", _PLAN_HEADER, [_line(job, sizes) for job in jobs])], _plain())


def _line(job: Job, sizes: dict[str, Size]) -> list[str]:
    found = sizes.get(job.cell.name)
    if not job.plan or not found:
        what = job.reason or f"mean of {', '.join(job.cell.mean_of)}"
        return [job.cell.name, what, *[""] * 6]
    numbers = (found.conversations, found.questions, found.chunks, found.tokens, job.plan.budget)
    return [job.cell.name, job.plan.suite, *(f"{each:,}" for each in numbers), f"{found.context_tokens:,}"]


def _counted(job: Job, found: Size | None) -> dict[str, object]:
    counts = {name: getattr(found, name) for name in found.__slots__} if found else None
    plan = job.plan.to_dict() if job.plan else None
    return {"cell": job.cell.name, "reason": job.reason, "plan": plan, "size": counts}


def _plain() -> Console:
    return Console(highlight=False, markup=False, emoji=False, soft_wrap=True, width=_WIDEST)
