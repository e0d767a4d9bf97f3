"""The experiment's report: the tables of all cells in Markdown, between what was asked and what it shows."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from memalpha.tasks.pages import between
from memalpha.tasks.stats import Interval
from memalpha_trainer.experiment.analysis import Claim, Place, Table
from memalpha_trainer.experiment.cells import ARMS
from memalpha_trainer.experiment.lines import CellLine

BEGIN = "<!-- cells: begin, written by memalpha-trainer experiment -->"
END = "<!-- cells: end -->"


def write_page(lines: Sequence[CellLine], page: Path) -> None:
    """Puts the tables between the page's markers; a page that is not there is made of them alone.

    Raises:
        InvalidInputError: NO_MARKERS; nothing is written.
    """
    page.parent.mkdir(parents=True, exist_ok=True)
    before = page.read_text("utf-8") if page.exists() else f"{BEGIN}{END}\n"
    page.write_text(between(before, BEGIN, END, tables(lines)), "utf-8")


def tables(lines: Sequence[CellLine]) -> str:
    """All tables."""
    table = Table(lines)
    parts = [_head(lines), _places(table), _claims(table), _kinds(table), _sizes(table), _curves(table)]
    return "\n\n".join(part for part in parts if part)


def _head(lines: Sequence[CellLine]) -> str:
    hours = sum(line.seconds for line in lines) / 3600
    dates = sorted(line.date[:10] for line in lines)
    span = dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"
    return (
        f"{span}, {len(lines)} cells, {hours:.1f} hours in all. Greedy decoding unless a row says otherwise."
    )


def _places(table: Table) -> str:
    title = "### Normalised accuracy (empty memory 0, oracle 1; 95 % intervals)"
    cells = [
        [row, str(len(table.of(row))), *(_place(table.place(row, each)) for each in table.lengths)]
        for row in table.rows
    ]
    return _table(title, ["row", "cells", *table.lengths], cells)


def _claims(table: Table) -> str:
    title = "### Differences that were declared beforehand"
    cells = [
        [f"{each.first} − {each.second}", length, *_claim(each)]
        for length in table.lengths
        for each in table.claims(length)
    ]
    header = ["difference", "length", "mean and interval", "p (Holm)", "pairs"]
    return _table(title, header, cells) if cells else ""


def _kinds(table: Table) -> str:
    length = table.lengths[-1]
    kinds = list(table.by_kind(table.rows[0], length))
    cells = [[row, *(f"{table.by_kind(row, length)[kind]:.2f}" for kind in kinds)] for row in table.rows]
    return _table(f"### Accuracy by kind of question at {length}", ["row", *kinds], cells)


def _sizes(table: Table) -> str:
    length = table.lengths[-1]
    cells = []
    for row in table.rows:
        scores = [line.results[length].scores for line in table.of(row)]
        count = len(scores)
        numbers = (
            sum(each.memory_tokens for each in scores) / count,
            sum(each.calls for each in scores) / count,
            sum(each.applied for each in scores) / count,
        )
        cells.append([row, f"{numbers[0]:.0f}", f"{numbers[1]:.0f}", f"{numbers[2]:.2f}"])
    header = ["row", "memory tokens", "calls", "carried out"]
    return _table(f"### What a memory of {length} costs", header, cells)


def _curves(table: Table) -> str:
    """Mean score of the answers in training, over fifths of the run."""
    cells = [
        [f"{line.arm}, seed {line.seed}", *_fifths(line.curve)]
        for arm in ARMS
        for line in table.of(arm)
        if len(line.curve) >= 5
    ]
    header = ["run", "first fifth", "second", "third", "fourth", "last"]
    return _table("### Accuracy in training (sampled)", header, cells) if cells else ""


def _fifths(curve: Sequence[float]) -> list[str]:
    bounds = [len(curve) * part // 5 for part in range(6)]
    return [f"{sum(curve[low:high]) / (high - low):.3f}" for low, high in pairwise(bounds)]


def _place(place: Place) -> str:
    return f"{place.mean:.2f} ({_range(place.interval)})"


def _claim(claim: Claim) -> list[str]:
    mean = f"{claim.mean:+.2f} ({_range(claim.interval, '+')})"
    return [mean, f"{claim.p:.3f}", str(claim.pairs)]


def _range(interval: Interval, sign: str = "") -> str:
    return f"{interval.low:{sign}.2f} to {interval.high:{sign}.2f}"


def _table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return f"{title}\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines)
