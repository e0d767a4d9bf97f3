"""A run of `packed` as tables, a JSON document and a set's part of `docs/packed.md`; all say the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from memalpha.tasks.stats import Interval
from memalpha_evals import pages
from memalpha_evals.packed.contexts import PASSAGE_TOKENS, ROWS, STORING
from memalpha_evals.packed.measure import COMPARED, Cell, Result
from memalpha_evals.pages import Page, Titled
from memalpha_evals.statistics import CONFIDENCE

BOUNDS = ("oracle", "none")
"""Rows between which all others lie; they have no interval."""


def document(result: Result, name: str, date: str) -> dict[str, Any]:
    """The JSON document of a run of the set `name`; shares from 0 to 1."""
    dataset = result.dataset
    counts = {
        each: sum(getattr(asking, each) for asking in result.asking)
        for each in ("answered", "anywhere", "verbatim")
    }
    return {
        "date": date,
        "set": name,
        "dataset": {"name": dataset.name, "sha256": dataset.sha256},
        "conversations": sum(bool(each.asked) for each in result.asking),
        "clusters": dataset.clusters,
        "caveats": list(dataset.caveats),
        **counts,
        "questions": len(result.asked),
        "budgets": list(result.budgets),
        "passage_tokens": PASSAGE_TOKENS,
        "confidence": CONFIDENCE,
        "stream_tokens": result.stream_tokens,
        "stored_tokens": result.stored,
        "ordered": result.ordered(),
        "cells": [_cell(result, cell) for cell in result.cells],
        "differences": [
            _difference(result, first, second, budget)
            for first, second in COMPARED
            for budget in result.budgets
        ],
    }


def _cell(result: Result, cell: Cell) -> dict[str, Any]:
    names = dict.fromkeys(asked.category for asked in result.asked)
    return {
        "row": cell.row,
        "budget": cell.budget,
        "share": cell.share,
        "interval": _interval(result, cell),
        "context_tokens": cell.context_tokens,
        "categories": {name: _of_category(result, cell, name) for name in names},
    }


def _interval(result: Result, cell: Cell) -> list[float] | None:
    """None of what can be had at most and at least: the evidence, and no memory."""
    return None if cell.row in BOUNDS else _bounds(result.share(cell).interval)


def _of_category(result: Result, cell: Cell, name: str) -> dict[str, float]:
    held = [each for each, asked in zip(cell.held, result.asked, strict=True) if asked.category == name]
    return {"questions": len(held), "share": sum(held) / len(held)}


def _difference(result: Result, first: str, second: str, budget: int) -> dict[str, Any]:
    found = result.difference(first, second, budget)
    return {
        "of": first,
        "minus": second,
        "budget": budget,
        "mean": found.mean,
        "interval": _bounds(found.interval),
        "questions_better": found.better,
        "questions_worse": found.worse,
    }


def _bounds(interval: Interval | None) -> list[float] | None:
    return [interval.low, interval.high] if interval else None


def head(content: dict[str, Any]) -> str:
    """Which questions, of which file."""
    of, answered = content["dataset"], content["answered"]
    anywhere, verbatim = (
        f"{content[name]:,} ({content[name] / answered:.1%})" for name in ("anywhere", "verbatim")
    )
    told, asked = content["verbatim"] - content["questions"], content["questions"]
    caveats = "".join(f". {caveat.rstrip('.')}" for caveat in content["caveats"])
    return (
        f"{content['date']}, {of['name']}, {content['conversations']} conversations. Of {answered:,} "
        f"questions with an answer and evidence it stands somewhere in the conversation for {anywhere}, in "
        f"the evidence for {verbatim}; {told:,} of these say it themselves, {asked:,} are asked{caveats}"
    )


def tables(content: dict[str, Any]) -> list[Titled]:
    """A column for each budget; what is stored and which categories there are at the last."""
    budgets: list[int] = content["budgets"]
    header = ["row", *(f"{budget:,}" for budget in budgets)]
    size = f"of {content['stream_tokens']:,}"
    return [
        ("answer in the context, %, by tokens of the context", header, _by_row(content, _share)),
        ("paired differences, points", header, _differences(content)),
        (
            "tokens of the context, mean",
            header,
            _by_row(content, lambda cell: f"{cell['context_tokens']:,.0f}"),
        ),
        (
            "stored tokens of the streams'",
            ["row", "stored"],
            [[row, f"{content['stored_tokens'][row]:,} {size}"] for row in STORING],
        ),
        _categories(content, budgets[len(budgets) // 2]),
    ]


def _by_row(content: dict[str, Any], text: Callable[[dict[str, Any]], str]) -> list[list[str]]:
    return [[row, *(text(cell) for cell in content["cells"] if cell["row"] == row)] for row in ROWS]


def _share(cell: dict[str, Any]) -> str:
    share, bounds = cell["share"], cell["interval"]
    around = pages.around(share, bounds, lambda each: f"{100 * each:.1f}") if bounds else "–"
    return f"{100 * share:.1f} ({around})"


def _differences(content: dict[str, Any]) -> list[list[str]]:
    found = content["differences"]
    return [
        [
            f"{first} − {second}",
            *(
                f"{100 * each['mean']:+.1f}{_range(each['interval'])}"
                for each in found
                if (each["of"], each["minus"]) == (first, second)
            ),
        ]
        for first, second in COMPARED
    ]


def _categories(content: dict[str, Any], budget: int) -> Titled:
    """Shares of each category at one budget."""
    cells = [cell for cell in content["cells"] if cell["budget"] == budget]
    names = {name: some["questions"] for name, some in cells[0]["categories"].items()}
    rows = [
        [cell["row"], *(f"{100 * cell['categories'][name]['share']:.1f}" for name in names)] for cell in cells
    ]
    header = ["row", *(f"{name} ({questions})" for name, questions in names.items())]
    return f"by category (questions) at {budget:,} tokens, %", header, rows


def _range(bounds: list[float] | None) -> str:
    return f" ({100 * bounds[0]:.1f} to {100 * bounds[1]:.1f})" if bounds else ""


def write_docs(content: dict[str, Any]) -> Path:
    """Writes `docs/packed/DATE-SET.json` and the set's part between its markers in `docs/packed.md`.

    Raises:
        InvalidInputError: `NO_MARKER`; nothing is written.
    """
    name = content["set"]
    page = Page(
        "packed.md",
        f"<!-- packed {name}:begin, written by evals packed {name} --write-docs -->",
        f"<!-- packed {name}:end -->",
        Path("packed") / f"{content['date']}-{name}.json",
    )
    return pages.write(page, content, head(content), tables(content))
