"""The command `bench whole`: real files, each suite's in a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import typer

from memalpha.errors import MemalphaError
from memalpha_evals import pages, suites
from memalpha_evals.bench import whole, whole_kept, whole_report
from memalpha_evals.commands.options import AsJson, WriteDocs, machine, plain
from memalpha_evals.datasets import DatasetError


def bench_whole(
    names: Annotated[
        list[str] | None, typer.Argument(help="Suites; none: all whose files are there.", show_default=False)
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help=f"Folder of all data; unset: the one that {suites.VARIABLE} names.")
    ] = None,
    most_tokens: Annotated[
        int, typer.Option(min=1, help="Of a suite: of more, only the first conversations are read.")
    ] = 2_000_000,
    write_docs: WriteDocs = False,
    here: Annotated[bool, typer.Option("--here", hidden=True)] = False,
    as_json: AsJson = False,
) -> None:
    """Real files whole: each suite memorized by the extractive policy and asked all its questions.

    Example: evals bench whole --data DATA --write-docs

    Each suite has a process of its own. With --write-docs the same command goes on where it was stopped: what
    the document has of the same files is not run again. A suite that cannot be read is a row that says why.
    Ends with 1 if there is one, or if a question failed.
    """
    if here:
        _measured((names or [""])[0], most_tokens)
        return
    root = data or Path(os.environ.get(suites.VARIABLE) or _no_data())
    wanted = _wanted(names or [], root)
    content = (_written if write_docs else _made)(wanted, root, most_tokens)
    if as_json:
        print(json.dumps(content))
    else:
        pages.show(whole_report.tables(content), plain())
    if any("error" in row or row["failed"] for row in content["suites"]):
        raise typer.Exit(1)


def _measured(name: str, most_tokens: int) -> None:
    """Prints a row, or, and then ends with 1, why there is none."""
    try:
        print(json.dumps(asyncio.run(whole.measure(name, most_tokens))))
    except (DatasetError, MemalphaError, OSError) as error:
        print(f"error: {name}: {error}", file=sys.stderr)
        print(json.dumps({"suite": name, "error": str(error)}))
        raise typer.Exit(1) from None


def _wanted(names: Sequence[str], root: Path) -> list[str]:
    """The suites, each once.

    Raises:
        DatasetError: A name is none of a suite's, or the folder has nothing to read.
    """
    there = whole.names(root)
    for name in names:
        suites.named(name)
    return list(dict.fromkeys(names)) or there


def _made(wanted: Sequence[str], root: Path, most_tokens: int) -> dict[str, Any]:
    rows = [_row(name, root, most_tokens) for name in wanted]
    return whole_report.document(date.today().isoformat(), rows, whole.unseen(root))


def _written(wanted: Sequence[str], root: Path, most_tokens: int) -> dict[str, Any]:
    """Document and page after each suite."""
    whole_report.require_page()
    day = whole_kept.begun(date.today(), wanted, root, most_tokens)
    kept = {row["suite"] for row in whole_kept.rows(day) if whole_kept.fits(row, root, most_tokens)}
    content = _write(day, [], root)
    for name in wanted:
        if name not in kept:
            content = _write(day, [_row(name, root, most_tokens)], root)
    return content


def _write(day: str, made: Sequence[dict[str, Any]], root: Path) -> dict[str, Any]:
    rows = whole_kept.joined(whole_kept.rows(day), made)
    content = whole_report.document(day, rows, whole.unseen(root))
    if rows:
        whole_report.write_docs(content)
    return content


def _row(name: str, root: Path, most_tokens: int) -> dict[str, Any]:
    print(name, file=sys.stderr)
    row = whole.apart(name, root, most_tokens) | machine()
    if "error" in row:
        # where the data lie says nothing to a reader of the page
        row["error"] = row["error"].replace(f"{root.resolve()}/", "")
    return row


def _no_data() -> str:
    rule = f"must be the folder of all data, or {suites.VARIABLE} name it"
    raise typer.BadParameter(rule, param_hint="--data")
