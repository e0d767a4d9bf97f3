"""The command `evals dose`."""

from __future__ import annotations

import json
import sys
from datetime import date
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from memalpha_evals import pages, suites
from memalpha_evals.datasets.draws import Draw
from memalpha_evals.dose import measure, report

NOT_FALLING = 1
"""Exit code if a measure does not fall."""
_WIDEST = 240


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("dose")(run_doses)


def run_doses(
    suite: Annotated[str, typer.Argument(help="A suite of conversations that `evals suites` lists.")],
    data: Annotated[Path | None, typer.Option(help="Its file or folder.")] = None,
    questions: Annotated[int, typer.Option(min=0, help="Most questions, drawn by the seed; 0: all.")] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Of the draw, and of the memories that are wrong.")] = 42,
    write_docs: Annotated[bool, typer.Option("--write-docs", help="Table and numbers into docs/.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Exchanges 0, 10, 25 and 50 % of the memories for wrong ones: exit code 1 if a measure does not fall.

    Example: evals dose locomo-dev --data locomo10.json --questions 200
    """
    dataset = suites.load(suite, data, draw=Draw(questions=questions, seed=seed))
    total = measure.questions(dataset) * len(measure.WRITERS) * len(measure.DOSES)
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("answers", total=total)
        result = measure.run(dataset, seed, lambda count: bar.advance(task, count))
    content = report.document(result, date.today().isoformat())
    if as_json:
        print(json.dumps(content))
    else:
        out = Console(highlight=False, markup=False, emoji=False, soft_wrap=True, width=_WIDEST)
        pages.show(report.tables(content), out)
    if write_docs:
        print(f"written: {report.write_docs(content)}", file=sys.stderr)
    if not report.all_fall(content):
        raise typer.Exit(NOT_FALLING)
