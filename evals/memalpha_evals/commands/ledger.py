"""The command `ledger`: scripted writers on generated streams whose truth is known."""

import json
import sys
from datetime import date
from typing import Annotated

import typer

from memalpha.tasks.ledger.stream import MOST_UNITS
from memalpha_evals.commands.options import AsJson, WriteDocs, numbers, plain, progress
from memalpha_evals.ledger import measure, report


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("ledger")(ledger)


def ledger(
    lengths: Annotated[str, typer.Option(help="In units of six chunks.")] = "1,4,13,40",
    streams: Annotated[int, typer.Option(min=1, max=1000, help="Streams of each length.")] = 20,
    seed: Annotated[int, typer.Option(min=0, max=1_000_000, help="Of the streams.")] = 0,
    write_docs: WriteDocs = False,
    as_json: AsJson = False,
) -> None:
    """Scripted writers on the ledger, by length: the floor, the ceiling and what lies between.

    Example: evals ledger --lengths 1,4 --streams 10
    """
    units = numbers(lengths, "lengths", 1, MOST_UNITS)
    with progress(measure.chunks(units, streams)) as advance:
        result = measure.run(units, streams, seed, advance)
    content = report.document(result, date.today().isoformat())
    if as_json:
        print(json.dumps(content))
    else:
        report.show(content, plain())
    if write_docs:
        print(f"written: {report.write_docs(content)}", file=sys.stderr)
