"""What options and output of several commands have in common."""

import os
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress

Data = Annotated[Path, typer.Option(help="The official file, whole or in part, gzip allowed.")]
BeamFolder = Annotated[Path, typer.Option(help="The folder of chats as published, such as chats/100K.")]
Chats = Annotated[str, typer.Option(help="Numbers of chats, such as 13,14,15,16; all unless given.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document (keys: evals/README.md).")]
Seed = Annotated[int, typer.Option(min=0, max=1_000_000, help="Of what is drawn at random.")]
WriteDocs = Annotated[bool, typer.Option("--write-docs", help="Tables and numbers into docs/.")]

WIDEST = 240
"""Columns of the output."""


def words(options: Sequence[str]) -> tuple[str, ...]:
    """Reads `a,b` of an option that may be repeated: repeating it adds to what was named before."""
    return tuple(part.strip() for text in options for part in text.split(",") if part.strip())


def numbers(text: str, name: str, low: int, high: int) -> list[int]:
    """Reads `1,5,10`: different numbers, returned in ascending order."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and low <= int(part) <= high for part in parts):
        rule = f"must be numbers from {low} to {high}, separated by commas"
        raise typer.BadParameter(f"{rule}, not {text!r}", param_hint=f"--{name}")
    return sorted({int(part) for part in parts})


def chosen_chats(text: str) -> list[int] | None:
    """Reads `Chats`; None: all."""
    return numbers(text, "chats", 1, 10_000) if text else None


@contextmanager
def progress(total: int) -> Iterator[Callable[[int], None]]:
    """A bar on standard error for people, advanced by what is yielded."""
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("questions", total=total)
        yield lambda answered: bar.advance(task, answered)


def plain() -> Console:
    """As wide as any table: in a pipe there are no columns to count, and a cut number is no number."""
    return Console(highlight=False, markup=False, emoji=False, soft_wrap=True, width=WIDEST)


def machine() -> dict[str, Any]:
    """What the numbers depend on besides the code; the load is of other processes too."""
    return {
        "date": date.today().isoformat(),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
    }
