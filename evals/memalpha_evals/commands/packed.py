"""The command `evals packed`: whether contexts hold the answers."""

import json
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import typer

from memalpha_evals import pages, suites
from memalpha_evals.commands.options import AsJson, WriteDocs, plain, progress
from memalpha_evals.datasets.draws import Draw
from memalpha_evals.packed import contexts, measure, report

SETS = {
    "locomo": "locomo-dev",
    "hotpotqa": "hotpotqa-10k",
    "2wiki": "2wiki-10k",
    "musique": "musique-10k",
    "nq": "nq-10k",
}
"""Sets whose answers are spans of text, and the suite that each is run as."""
NOT_ORDERED = 1
"""Exit code if the controls do not come out in order."""


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("packed")(packed)


def packed(
    sets: Annotated[list[str], typer.Argument(help=f"Of {', '.join(SETS)}.")],
    data: Annotated[Path | None, typer.Option(help="Its file or folder, if it is one set.")] = None,
    conversations: Annotated[
        int, typer.Option(min=0, help="Most of each set, the first of its file; 0: all.")
    ] = 128,
    write_docs: WriteDocs = False,
    as_json: AsJson = False,
) -> None:
    """Is the answer in the context that recall packs, word for word? Exit code 1 if controls say nonsense.

    Example: evals packed locomo --data locomo10.json
    """
    found = []
    for name in _known(sets, data):
        found.append(content := _run(name, data, conversations))
        if not as_json:
            _show(content)
        if write_docs:
            print(f"written: {report.write_docs(content)}", file=sys.stderr)
    if as_json:
        print(json.dumps(found))
    if not all(content["ordered"] for content in found):
        raise typer.Exit(NOT_ORDERED)


def _known(sets: Sequence[str], data: Path | None) -> list[str]:
    for name in sets:
        if name not in SETS:
            raise typer.BadParameter(f"must be of {', '.join(SETS)}, not {name!r}", param_hint="SETS")
    named = list(dict.fromkeys(sets))
    if data and len(named) > 1:
        rule = f"is one set's file or folder: for several, name the folder of all data with {suites.VARIABLE}"
        raise typer.BadParameter(rule, param_hint="--data")
    return named


def _run(name: str, data: Path | None, conversations: int) -> dict[str, Any]:
    dataset = suites.load(SETS[name], data, draw=Draw(conversations=conversations))
    with progress(len(dataset.conversations)) as advance:
        result = measure.run(dataset, advance)
    return report.document(result, name, date.today().isoformat())


def _show(content: dict[str, Any]) -> None:
    out = plain()
    out.print(report.head(content))
    pages.show(report.tables(content), out)
    for row, about in contexts.ROWS.items():
        out.print(f"{row}: {about}")
    if not content["ordered"]:
        out.print(
            "NOT IN ORDER: at some budget extractive is above oracle or clearly below shuffled, "
            "or an answer is found in no memory"
        )
