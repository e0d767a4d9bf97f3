"""A run of `construct` as tables, a JSON document and a part of a page of documentation; all say the same."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from memalpha.tasks.stats import Difference
from memalpha_evals import pages
from memalpha_evals.construct.measure import (
    EXTRACTIVE,
    MEASURES,
    READER_TOKENS,
    SCRIPTED,
    WRITERS,
    Cell,
    Result,
)
from memalpha_evals.pages import Page, Titled
from memalpha_evals.statistics import CONFIDENCE

COMPARED = ("found", "stored")


def document(result: Result, file: str, date: str) -> dict[str, Any]:
    """The JSON document of a run; shares from 0 to 1."""
    dataset = result.dataset
    return {
        "date": date,
        "dataset": {"name": dataset.name, "file": file, "sha256": dataset.sha256},
        "conversations": [each.id for each in dataset.conversations],
        "questions": len(result.cells[0].asked),
        "reader_tokens": READER_TOKENS,
        "budgets": list(result.budgets),
        "seed": result.seed,
        "confidence": CONFIDENCE,
        "cells": [_cell(cell) for cell in result.cells],
        "whole": _cell(result.whole),
        "differences": [
            {"of": EXTRACTIVE, "minus": writer, "budget": budget, "measure": measure}
            | _difference(result.difference(writer, budget, measure))
            for budget in result.budgets
            for writer in SCRIPTED
            for measure in COMPARED
        ],
    }


def _cell(cell: Cell) -> dict[str, Any]:
    return {
        "writer": cell.writer,
        "budget": cell.budget,
        "stored_tokens": cell.stored_tokens,
        "stream_tokens": cell.stream_tokens,
        "memories": cell.memories,
        "measures": {
            measure: {
                "score": _scored(cell.score(measure)),
                "chance": cell.chance(measure),
                "canary": _scored(cell.canary(measure)),
            }
            for measure in MEASURES
        },
        "categories": _categories(cell),
    }


def _categories(cell: Cell) -> dict[str, dict[str, float]]:
    """Found beyond chance, by category of the question."""
    names = dict.fromkeys(each.category for each in cell.asked)
    groups = {name: [each for each in cell.asked if each.category == name] for name in names}
    return {
        name: {
            "questions": len(some),
            "found": sum(each.held["found"] - each.chance["found"] for each in some) / len(some),
        }
        for name, some in groups.items()
    }


def _scored(found: Difference) -> dict[str, Any]:
    interval = found.interval
    return {"mean": found.mean, "interval": None if interval is None else [interval.low, interval.high]}


def _difference(found: Difference) -> dict[str, Any]:
    return _scored(found) | {"questions_better": found.better, "questions_worse": found.worse}


def show(content: dict[str, Any], out: Console) -> None:
    """Prints the tables of a document; `out` should neither wrap nor mark up."""
    pages.show(_tables(content), out)


def write_docs(content: dict[str, Any]) -> Path:
    """Writes `docs/construct/DATE-SET.json` and the set's part between its markers in `docs/construct.md`.

    Raises:
        InvalidInputError: `NO_MARKER`; nothing is written.
    """
    name = content["dataset"]["name"]
    page = Page(
        "construct.md",
        f"<!-- construct {name}:begin, written by evals construct {name} --write-docs -->",
        f"<!-- construct {name}:end -->",
        Path("construct") / f"{content['date']}-{name}.json",
    )
    head = (
        f"{content['date']}, {content['dataset']['file']}, {len(content['conversations'])} conversations, "
        f"{content['questions']} questions, seed {content['seed']}"
    )
    return pages.write(page, content, head, _tables(content))


def _tables(content: dict[str, Any]) -> list[Titled]:
    """One column for each budget in all but the last."""
    header = ["writer", *(f"{budget:g}" for budget in content["budgets"])]
    tables = [
        (
            f"{name}, % beyond chance, by budget",
            header,
            _by_writer(content, lambda cell, name=name: _percent(cell["measures"][name]["score"])),
        )
        for name in COMPARED
    ]
    tables += [(f"{name}, extractive minus", header, _differences(content, name)) for name in COMPARED]
    chances = _by_writer(
        content, lambda cell: " / ".join(f"{100 * cell['measures'][each]['chance']:.1f}" for each in MEASURES)
    )
    canaries = _by_writer(content, lambda cell: _percent(cell["measures"]["found"]["canary"]))
    sizes = _by_writer(
        content, lambda cell: f"{cell['stored_tokens']} of {cell['stream_tokens']} in {cell['memories']}"
    )
    return [
        *tables,
        (f"chance, % ({' / '.join(MEASURES)})", header, chances),
        ("canary: found of shuffled evidence, % beyond chance", header, canaries),
        ("stored tokens of the stream's, in memories", header, sizes),
        (
            "all turns stored, % beyond chance",
            ["measure", "score"],
            [[name, _percent(content["whole"]["measures"][name]["score"])] for name in COMPARED],
        ),
    ]


def _by_writer(content: dict[str, Any], text: Callable[[dict[str, Any]], str]) -> list[list[str]]:
    return [
        [writer, *(text(cell) for cell in content["cells"] if cell["writer"] == writer)] for writer in WRITERS
    ]


def _differences(content: dict[str, Any], measure: str) -> list[list[str]]:
    found = [each for each in content["differences"] if each["measure"] == measure]
    return [
        [writer, *(_percent(each, signed=True) for each in found if each["minus"] == writer)]
        for writer in SCRIPTED
    ]


def _percent(score: dict[str, Any], *, signed: bool = False) -> str:
    mean, bounds = 100 * score["mean"], score["interval"]
    around = "" if bounds is None else f" ({100 * bounds[0]:.1f} to {100 * bounds[1]:.1f})"
    return f"{mean:+.1f}{around}" if signed else f"{mean:.1f}{around}"
