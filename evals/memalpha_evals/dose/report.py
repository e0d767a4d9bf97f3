"""Dose and response as tables, as a document, and in `docs/dose.md`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from memalpha.tasks.stats import Interval
from memalpha_evals import pages
from memalpha_evals.dose.measure import BUDGET, MEASURES, Cell, Result
from memalpha_evals.pages import Page, Titled


def document(result: Result, date: str) -> dict[str, Any]:
    """All numbers; shares from 0 to 1."""
    writers = dict.fromkeys(cell.writer for cell in result.cells)
    return {
        "date": date,
        "dataset": result.dataset.name,
        "sha256": result.dataset.sha256,
        "conversations": len(result.dataset.conversations),
        "questions": len(result.cells[0].rows),
        "budget": BUDGET,
        "reader": "extract",
        "seed": result.seed,
        "falls": {name: {each: result.falls(name, each) for each in MEASURES} for name in writers},
        "cells": [_cell(result, cell) for cell in result.cells],
    }


def all_fall(content: dict[str, Any]) -> bool:
    """Every measure of every writer."""
    return all(falls for each in content["falls"].values() for falls in each.values())


def _cell(result: Result, cell: Cell) -> dict[str, Any]:
    means = dict(
        zip(MEASURES, (sum(found) / len(found) for found in map(cell.values, MEASURES)), strict=True)
    )
    losses = {name: result.loss(cell, name) for name in MEASURES}
    return {
        "writer": cell.writer,
        "dose": cell.dose,
        "memories": cell.memories,
        "exchanged": cell.exchanged,
        **means,
        "difference": {name: loss.mean for name, loss in losses.items()},
        "interval": {name: _plain(loss.interval) for name, loss in losses.items()},
    }


def _plain(interval: Interval | None) -> list[float] | None:
    return [interval.low, interval.high] if interval else None


def tables(content: dict[str, Any]) -> list[Titled]:
    """A table for each writer: a line for each measure, a column for each dose."""
    found = []
    for writer, falls in content["falls"].items():
        cells = [cell for cell in content["cells"] if cell["writer"] == writer]
        header = ["%", *(f"{100 * cell['dose']:g} % wrong" for cell in cells), "falls"]
        rows = [
            [name, *(_shown(cell, name) for cell in cells), "yes" if fell else "NO"]
            for name, fell in falls.items()
        ]
        found.append((writer, header, rows))
    return found


def _shown(cell: dict[str, Any], name: str) -> str:
    value, interval = f"{100 * cell[name]:.1f}", cell["interval"][name]
    if not cell["dose"] or interval is None:
        return value
    low, high = (100 * each for each in interval)
    return f"{value} ({100 * cell['difference'][name]:+.1f}, {low:+.1f} to {high:+.1f})"


def write_docs(content: dict[str, Any]) -> Path:
    """Writes document and page; where the document is.

    Raises:
        InvalidInputError: `NO_MARKER`.
    """
    head = (
        f"{content['date']}, {content['dataset']}, {content['conversations']} conversations, "
        f"{content['questions']:,} questions, {content['budget']:,} tokens of context, seed {content['seed']}"
    )
    document_path = Path("dose") / f"{content['date']}-{content['dataset']}.json"
    page = Page(
        "dose.md",
        "<!-- dose:begin, written by evals dose --write-docs -->",
        "<!-- dose:end -->",
        document_path,
    )
    return pages.write(page, content, head, tables(content))
