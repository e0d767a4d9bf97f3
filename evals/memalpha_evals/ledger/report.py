"""A run of the ledger as a table, a JSON document and a page of documentation; all three say the same."""

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from memalpha.tasks.ledger import KINDS, READERS
from memalpha.tasks.stats import Interval
from memalpha_evals import pages
from memalpha_evals.ledger.measure import (
    BOOTSTRAP_SAMPLES,
    COMPARED,
    CONFIDENCE,
    DISTANCES,
    ROWS,
    Asked,
    Cell,
    Result,
)
from memalpha_evals.pages import Page, Titled

_BEGIN = "<!-- ledger:begin, written by just ledger --write-docs -->"
_END = "<!-- ledger:end -->"


def document(result: Result, date: str) -> dict[str, Any]:
    """The JSON document of a run; shares from 0 to 1."""
    cells = [_cell(result, cell) for cell in result.cells]
    return {
        "date": date,
        "seed": result.seed,
        "streams": result.streams,
        "lengths": list(result.lengths),
        "confidence": CONFIDENCE,
        "bootstrap_samples": BOOTSTRAP_SAMPLES,
        "cells": cells,
        "falls": list(falls(cells, result.lengths)),
        "differences": [
            _difference(result, first, second, units, reader)
            for units in result.lengths
            for first, second in COMPARED
            for reader in READERS
        ],
    }


def _cell(result: Result, cell: Cell) -> dict[str, Any]:
    stale = cell.stale()
    return {
        "row": cell.row.name,
        "view": cell.row.view,
        "units": cell.units,
        "memory_tokens": cell.memory_tokens,
        "stream_tokens": cell.stream_tokens,
        "operations": cell.operations,
        "operations_applied": cell.applied,
        "compression": cell.compression,
        "stale": {"share": stale.value, "interval": _bounds(stale.interval), "values": stale.questions},
        "repeated": cell.repeated,
        "readers": {reader: _read(result, cell, reader) for reader in READERS},
    }


def _read(result: Result, cell: Cell, reader: str) -> dict[str, Any]:
    asked, found = cell.asked[reader], result.normalised(cell.row.name, cell.units, reader)
    return {
        "normalised": found.mean,
        "interval": _bounds(found.interval),
        "accuracy": _accuracy(asked),
        "kinds": {kind: _accuracy([each for each in asked if each.kind == kind]) for kind in KINDS},
        "distances": _by_distance(asked),
    }


def _by_distance(asked: Sequence[Asked]) -> dict[str, dict[str, float]]:
    """Accuracy by chunks since the last write that matters, keyed by the most chunks of a group."""
    groups, low = dict[str, dict[str, float]](), -1
    for high in DISTANCES:
        some = [each for each in asked if low < each.distance <= high]
        if some:
            groups[str(high)] = {"questions": len(some), "accuracy": _accuracy(some)}
        low = high
    return groups


def _difference(result: Result, first: str, second: str, units: int, reader: str) -> dict[str, Any]:
    found = result.difference(first, second, units, reader)
    return {
        "of": first,
        "minus": second,
        "units": units,
        "reader": reader,
        "mean": found.mean,
        "interval": _bounds(found.interval),
        "questions_better": found.better,
        "questions_worse": found.worse,
    }


def falls(cells: Sequence[dict[str, Any]], lengths: Sequence[int]) -> Iterator[dict[str, Any]]:
    """How much lower each writer is at longer lengths than at the shortest, literal reader.

    Streams of different lengths are independent, so the halves of the two intervals add in quadrature.
    """
    read = {(cell["row"], cell["units"]): cell["readers"]["literal"] for cell in cells}
    for row in ROWS:
        for units in lengths[1:]:
            short, long = read[row.name, lengths[0]], read[row.name, units]
            mean = short["normalised"] - long["normalised"]
            yield {"row": row.name, "units": units, "mean": mean, "interval": _apart(mean, short, long)}


def _apart(mean: float, *reads: dict[str, Any]) -> list[float] | None:
    if any(each["interval"] is None for each in reads):
        return None
    half = math.hypot(*((each["interval"][1] - each["interval"][0]) / 2 for each in reads))
    return [mean - half, mean + half]


def _bounds(interval: Interval | None) -> list[float] | None:
    return None if interval is None else [interval.low, interval.high]


def _accuracy(asked: Sequence[Asked]) -> float:
    return sum(each.score for each in asked) / len(asked)


def show(content: dict[str, Any], out: Console) -> None:
    """Prints the tables of a document; `out` should neither wrap nor mark up."""
    pages.show(_tables(content), out)
    for row in ROWS:
        out.print(f"{row.name}: {row.about}")


def write_docs(content: dict[str, Any]) -> Path:
    """Writes `docs/ledger/DATE.json` and the part between the markers of `docs/ledger.md`.

    Raises:
        InvalidInputError: `NO_MARKER`; nothing is written.
    """
    page = Page("ledger.md", _BEGIN, _END, Path("ledger") / f"{content['date']}.json")
    head = (
        f"{content['date']}, {content['streams']} streams of each length, seed {content['seed']}; "
        f"{content['confidence']:.0%} intervals that draw whole streams"
    )
    return pages.write(page, content, head, _tables(content))


def _tables(content: dict[str, Any]) -> list[Titled]:
    lengths: list[int] = content["lengths"]
    scores = [
        (
            f"Normalised accuracy, {reader} reader",
            ["writer", *(f"{units}x" for units in lengths)],
            _by_row(content, lambda cell, reader=reader: _scored(cell["readers"][reader])),
        )
        for reader in READERS
    ]
    kinds = (
        f"Accuracy by kind at {lengths[-1]}x, literal reader",
        ["writer", *KINDS],
        [
            [cell["row"], *(f"{cell['readers']['literal']['kinds'][kind]:.2f}" for kind in KINDS)]
            for cell in content["cells"]
            if cell["units"] == lengths[-1]
        ],
    )
    tokens = (
        "Stored tokens (of the stream's)",
        ["writer", *(f"{units}x" for units in lengths)],
        _by_row(
            content, lambda cell: f"{cell['memory_tokens']:.0f} of {cell['stream_tokens']:.0f}{_part(cell)}"
        ),
    )
    stale = (
        "Stale values still stored, share of all that were superseded, revoked or taken back",
        ["writer", *(f"{units}x" for units in lengths)],
        _by_row(content, lambda cell: _stale(cell["stale"])),
    )
    repeated = (
        "Repeats of what another memory said before, share of all statements stored",
        ["writer", *(f"{units}x" for units in lengths)],
        _by_row(content, lambda cell: f"{cell['repeated']:.2f}"),
    )
    raw = (
        "Accuracy as it is, literal reader",
        ["writer", *(f"{units}x" for units in lengths)],
        _by_row(content, lambda cell: f"{cell['readers']['literal']['accuracy']:.3f}"),
    )
    return [*scores, _falls(content), raw, kinds, stale, repeated, tokens, _differences(content)]


def _stale(found: dict[str, Any]) -> str:
    share, bounds = found["share"], found["interval"]
    around = f" ({pages.around(share, bounds, lambda each: f'{each:.4f}')})" if bounds else ""
    return f"{share:.4f}{around}"


def _part(cell: dict[str, Any]) -> str:
    return f" ({cell['compression']:.0%})"


def _falls(content: dict[str, Any]) -> Titled:
    shortest, *longer = content["lengths"]
    rows = [
        [
            row.name,
            *(f"{e['mean']:+.2f}{_range(e['interval'])}" for e in content["falls"] if e["row"] == row.name),
        ]
        for row in ROWS
    ]
    title = f"Fall with length: {shortest}x minus a longer one, normalised, literal reader"
    return title, ["writer", *(f"{units}x" for units in longer)], rows


def _by_row(content: dict[str, Any], text: Callable[[dict[str, Any]], str]) -> list[list[str]]:
    """A row for each writer, a cell for each length."""
    return [[row.name, *(text(cell) for cell in content["cells"] if cell["row"] == row.name)] for row in ROWS]


def _scored(read: dict[str, Any]) -> str:
    return f"{read['normalised']:.2f}{_range(read['interval'])}"


def _differences(content: dict[str, Any]) -> Titled:
    lengths: list[int] = content["lengths"]
    found = [each for each in content["differences"] if each["reader"] == "literal"]
    rows = [
        [
            f"{first} − {second}",
            *(
                f"{each['mean']:+.2f}{_range(each['interval'])}"
                for each in found
                if (each["of"], each["minus"]) == (first, second)
            ),
        ]
        for first, second in COMPARED
    ]
    return "Paired differences in accuracy, literal reader", ["rows", *(f"{each}x" for each in lengths)], rows


def _range(bounds: list[float] | None) -> str:
    return "" if bounds is None else f" ({bounds[0]:.2f} to {bounds[1]:.2f})"
