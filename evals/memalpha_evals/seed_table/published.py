"""The published side: figures with their sources, read from `published.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from memalpha.errors import InvalidInputError, make


@dataclass(frozen=True, slots=True)
class Figure:
    """A published figure in percent, where it stands, and what was done for it.

    Attributes:
        query_aware: The system reads with the question before it, as Mem-alpha does not.
        come_by: How, if it was not read where it stands: `second-hand`, `not seen` in any table, or
            `computed` from others here.
    """

    system: str
    value: float
    source: str
    setting: str
    query_aware: bool = False
    come_by: str = ""


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of the table.

    Attributes:
        name: As the table has it.
        score: Ours that is compared with the published figures; a name of `scorers`.
        protocol: What is done here; `{questions}` stands for how many are asked.
        memalpha: Published of Mem-alpha.
        best: The best of the same source, or of one inferred to be it; other sources may have better ones.
        others: Of other sources, with other readers and splits.
        suite: What is run; empty: the mean of other cells.
        mean_of: Their names.
    """

    name: str
    score: str
    protocol: str
    memalpha: Figure
    best: Figure
    others: tuple[Figure, ...] = ()
    suite: str = ""
    mean_of: tuple[str, ...] = ()


@cache
def cells() -> tuple[Cell, ...]:
    """All cells in the order of the table."""
    text = files("memalpha_evals.seed_table").joinpath("published.toml").read_text("utf-8")
    return tuple(_cell(raw) for raw in tomllib.loads(text)["cells"])


def chosen(names: str) -> tuple[Cell, ...]:
    """The cells of names between commas; none: all.

    Raises:
        InvalidInputError: UNKNOWN_CELL.
    """
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    known = {cell.name.lower(): cell for cell in cells()}
    for name in wanted:
        if name.lower() not in known:
            message = f"cells must be of {', '.join(cell.name for cell in cells())}, not {name!r}"
            raise make(InvalidInputError, "UNKNOWN_CELL", message, cell=name)
    return tuple(known[name.lower()] for name in wanted) or cells()


def means_last(wanted: Iterable[Cell]) -> list[Cell]:
    """Cells in an order in which they can be made: means of others behind them."""
    return sorted(wanted, key=lambda cell: bool(cell.mean_of))


def _cell(raw: Mapping[str, Any]) -> Cell:
    return Cell(
        name=raw["name"],
        score=raw["score"],
        protocol=raw["protocol"],
        memalpha=Figure(**raw["memalpha"]),
        best=Figure(**raw["best"]),
        others=tuple(Figure(**each) for each in raw.get("others", ())),
        suite=raw.get("suite", ""),
        mean_of=tuple(raw.get("mean_of", ())),
    )
