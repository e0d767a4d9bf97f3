"""The commands `run` and `resume`: systems read a suite, a reader answers, a folder holds what happened."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from memalpha.agent.presets import PRESETS
from memalpha.cli.style import plural
from memalpha.errors import InvalidInputError, make
from memalpha_evals import endpoints, pages, reports, suites, systems
from memalpha_evals.commands.options import words
from memalpha_evals.compare import tables
from memalpha_evals.compare.sides import all_sides, by_group, opened
from memalpha_evals.runs import Comparison, Execution, RunFolder, folder, manifest
from memalpha_evals.runs.compose import READER_FORMS, Plan, composed
from memalpha_evals.runs.progress import console, duration, shown
from memalpha_evals.scheduler import LAG_WARNING, Limits, Outage, Report

_DEFAULT = ("no-memory", "full-context", "rag-bm25", "memalpha")
INTERRUPTED = 130
_FAILED = 1
_WIDEST = 240

Slots = Annotated[int, typer.Option(min=1, max=100_000, help="Most calls in flight.")]
Tokens = Annotated[
    int, typer.Option("--tokens-in-flight", min=0, help="Most tokens of all calls in flight; 0: any number.")
]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("run")(run)
    app.command("resume")(resume)


def run(
    suite: Annotated[str, typer.Argument(help="A name that `evals suites` lists.", show_default=False)],
    data: Annotated[
        Path | None,
        typer.Option(help=f"Its file or folder; unset: below {suites.VARIABLE}.", show_default=False),
    ] = None,
    names: Annotated[
        list[str] | None,
        typer.Option(
            "--systems",
            help=f"Of {', '.join(systems.NAMES)}, between commas, or repeat. Unset: {', '.join(_DEFAULT)}.",
            show_default=False,
        ),
    ] = None,
    policy: Annotated[str, typer.Option(help=f"What writes memory: {endpoints.FORMS}.")] = "extractive",
    reader: Annotated[str, typer.Option(help=f"What answers: {READER_FORMS}.")] = "extract",
    preset: Annotated[str, typer.Option(help=f"How memalpha reads: {', '.join(PRESETS)}.")] = "default",
    budget: Annotated[
        int | None, typer.Option(min=64, help="Tokens of a context; unset: as the suite's protocol says.")
    ] = None,
    chunk_tokens: Annotated[
        int | None, typer.Option(min=16, help="Tokens read at once; unset: likewise.")
    ] = None,
    limit: Annotated[int, typer.Option(min=0, help="Most conversations; 0: all.")] = 0,
    questions: Annotated[
        int | None,
        typer.Option(min=0, help="Most questions in all, drawn at random; 0: all; unset: likewise."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Of every call to a model; unset: likewise.")
    ] = None,
    draw_seed: Annotated[
        int | None, typer.Option(min=0, help="Of which questions are drawn; unset: likewise.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The run's folder; unset: runs/SUITE-TIME.", show_default=False)
    ] = None,
    slots: Slots = 32,
    tokens: Tokens = 0,
) -> None:
    """Compare systems on a suite: all read the same chunks and answer the same questions.

    Example: evals run locomo-dev --data locomo10.json --policy extractive

    Ctrl-C stops it; `evals resume FOLDER` goes on, and makes nothing again that was made.
    """
    protocol = suites.named(suite).protocol
    path = out or Path("runs") / f"{suite}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    folder.require_free(path)
    plan = Plan(
        suite=suite,
        data=str(data.resolve()) if data else "",
        systems=_DEFAULT if names is None else _named(names),
        policy=policy,
        reader=reader,
        preset=preset,
        budget=protocol.budget if budget is None else budget,
        chunk_tokens=protocol.chunk_tokens if chunk_tokens is None else chunk_tokens,
        conversations=limit,
        questions=protocol.questions if questions is None else questions,
        seed=protocol.seed if seed is None else seed,
        draw_seed=protocol.seed if draw_seed is None else draw_seed,
    )

    def begin(made: Comparison) -> RunFolder:
        return RunFolder.create(path, manifest.describe(made, plan.to_dict()))

    _carry_out(plan, path, begin, Limits(slots, tokens or None), retry_failed=False)


def resume(
    run: Annotated[Path, typer.Argument(help="The run's folder.", show_default=False)],
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Ask again what failed.")] = False,
    data: Annotated[
        Path | None,
        typer.Option(help="Where the same data lie now; unset: where they were.", show_default=False),
    ] = None,
    slots: Slots = 32,
    tokens: Tokens = 0,
) -> None:
    """Go on with a run that was stopped or killed.

    Example: evals resume runs/locomo-dev-20260401-120000
    """
    found = folder.read(run)
    if found.done and not retry_failed:
        _say(f"{run} is finished")
        _show(run)
        _require_answers(run)
        return
    plan = Plan.from_dict(found.manifest["plan"])
    if data:
        plan = replace(plan, data=str(data.resolve()))

    def begin(made: Comparison) -> RunFolder:
        return RunFolder.resume(run, manifest.what(made), plan.to_dict())

    _carry_out(plan, run, begin, Limits(slots, tokens or None), retry_failed=retry_failed)


def _carry_out(
    plan: Plan, path: Path, begin: Callable[[Comparison], RunFolder], limits: Limits, *, retry_failed: bool
) -> None:
    try:
        report = asyncio.run(_run(plan, begin, limits, retry_failed))
    except KeyboardInterrupt:
        _say(_go_on("stopped", path))
        raise typer.Exit(INTERRUPTED) from None
    except Outage as outage:
        _say(_go_on(str(outage), path))
        raise typer.Exit(_FAILED) from None
    except OSError as error:
        _say(_go_on(f"the run cannot be written: {error}", path))
        raise typer.Exit(_FAILED) from None
    _say(_summary(report, limits.slots))
    _show(path)
    _require_answers(path)


def _require_answers(path: Path) -> None:
    """Exit code 1 for a run in which every question failed, however often it is looked at."""
    if failure := _failed_all(path):
        _say(f"every question failed: {failure}; ask again: evals resume {path} --retry-failed")
        raise typer.Exit(_FAILED)


def _failed_all(path: Path) -> str:
    """Why the first row of a run failed, if all did."""
    rows = iter(folder.rows(path))
    first = next(rows, None)
    return first.failure if first and all(row.failure for row in rows) else ""


async def _run(
    plan: Plan, begin: Callable[[Comparison], RunFolder], limits: Limits, retry_failed: bool
) -> Report:
    _say(f"reading {plan.suite}")
    async with composed(plan) as made:
        with begin(made) as opened_folder:
            _say(_beginning(made, opened_folder.path))
            execution = Execution(made, opened_folder, limits, retry_failed=retry_failed)
            async with shown(execution.counts, console()):
                return await execution.run()


def _beginning(made: Comparison, path: Path) -> str:
    streams = made.streams
    sizes = (
        plural(len(streams), "conversation"),
        plural(sum(len(each.chunks) for each in streams), "chunk"),
        plural(sum(len(each.questions) for each in streams), "question"),
    )
    names = ", ".join(each.name for each in made.systems)
    return f"{path}: {', '.join(sizes)}; {names}; reader {made.reader.name}, {made.budget:,} tokens"


def _show(path: Path) -> None:
    """The tables of a finished run, and where its report is."""
    report = reports.write(path)
    out = Console(highlight=False, markup=False, emoji=False, soft_wrap=True, width=_WIDEST)
    for group, members in by_group(all_sides([opened(path)])).items():
        out.print(group.title)
        pages.show([tables.sides_table(group, members)], out)
    out.print(f"report: {report}")


def _summary(report: Report, slots: int) -> str:
    said = [f"{duration(report.seconds)}: {report.calls:,} chunks and answers"]
    said.append(f"{report.utilisation:.0%} of {slots} slots in use")
    if report.retried:
        said.append(f"{report.retried:,} made again")
    if report.given_up:
        said.append(f"{report.given_up:,} given up")
    if report.lag > LAG_WARNING:
        said.append(
            f"the event loop was up to {1000 * report.lag:.0f} ms late (99 %): what runs here is slow, "
            "or the machine is busy"
        )
    return ", ".join(said)


def _named(options: list[str]) -> tuple[str, ...]:
    names = words(options)
    if not names:
        message = f"systems must be of {', '.join(systems.NAMES)}, separated by commas"
        raise make(InvalidInputError, "NO_SYSTEM", message)
    return names


def _go_on(why: str, path: Path) -> str:
    return f"{why}; go on with: evals resume {path}" if (path / folder.MANIFEST).exists() else why


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr)
