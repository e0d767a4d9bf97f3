"""The command `suites`: which suites there are, what they need, and whether it is there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from memalpha_evals import suites
from memalpha_evals.suites import SUITES, VARIABLE, Suite

_WIDEST = 240
"""Columns of the output."""


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("suites")(show)


def show(
    data: Annotated[
        Path | None, typer.Option(help=f"Folder of all data; unset: the one that {VARIABLE} names.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Every suite, its licence, the files it needs, and whether they are there.

    Example: evals suites --data DATA
    """
    rows = [_row(suite, data) for suite in SUITES.values()]
    if as_json:
        print(json.dumps({"suites": rows}))
        return
    table = Table(
        "suite",
        "there",
        "what",
        "licence",
        "below the folder of all data",
        box=SIMPLE_HEAD,
        padding=(0, 2, 0, 0),
        pad_edge=False,
        caption="A ledger may have any length, from ledger-1x to ledger-60x.",
        caption_justify="left",
    )
    for row in rows:
        there = "yes" if row["present"] else "no"
        table.add_row(row["name"], there, row["about"], row["licence"], row["files"])
    Console(width=_WIDEST, markup=False, highlight=False).print(table)


def _row(suite: Suite, data: Path | None) -> dict[str, Any]:
    protocol = suite.protocol
    return {
        "name": suite.name,
        "about": suite.about,
        "licence": suite.licence,
        "files": suite.files,
        "present": suites.present(suite, data / suite.folder if data and suite.folder else None),
        "budget": protocol.budget,
        "chunk_tokens": protocol.chunk_tokens,
        "questions": protocol.questions,
        "seed": protocol.seed,
        "source": protocol.source,
    }
