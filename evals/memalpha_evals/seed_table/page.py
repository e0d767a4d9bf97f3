"""The table as Markdown, on the screen and as a document; all say the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from memalpha.cli.style import plural
from memalpha.errors import InvalidInputError, make
from memalpha_evals import pages
from memalpha_evals.pages import Page, Titled
from memalpha_evals.seed_table import plans, published, who
from memalpha_evals.seed_table.figures import Ours
from memalpha_evals.seed_table.made import Made
from memalpha_evals.seed_table.plans import Settings
from memalpha_evals.seed_table.published import Cell, Figure
from memalpha_evals.statistics import Mean, detectable, unpaired

MARKDOWN = "seed-table.md"
PLUMBING = "Plumbing: shows that the path works from data to figures, and says nothing about memory"
"""Title of the table of figures that mean nothing."""
_PLUMBED = (
    "No figure of ours here says anything about memory: the reader is no model, or one for tests. "
    "`paper.sub_em` gives every point to an empty answer, so that a model that says nothing has 100."
)
_ELSEWHERE = "plumbing, see below"
_UNWANTED = "not run: not among --cells"

_HEADER = [
    "cell",
    "Mem-α published",
    "best of the same source, or one inferred to be",
    "system",
    "ours",
    "95 %",
    "strict",
    "questions",
]
_PLUMBING_HEADER = [
    "cell",
    "system",
    "paper's scorer",
    "strict",
    "questions",
    "failed",
    "silent",
    "context",
    "built",
]


def tables(cells: Sequence[Cell], made: Made) -> list[Titled]:
    """Published figures with ours beside them, and those that mean nothing in a table of their own."""
    found: list[Titled] = [("Seed table, in percent", _HEADER, list(_compared(cells, made)))]
    if made.plumbing:
        rows = [_plumbed(cell, ours) for cell in cells for ours in made.ours.get(cell.name, {}).values()]
        found.append((PLUMBING, _PLUMBING_HEADER, rows))
    return found


def notes(cells: Sequence[Cell], settings: Settings) -> list[str]:
    """What has to be known to read the table: protocols, sources, and how small a difference can be seen."""
    lines = [
        "Beside the figure of Mem-α stands the best of the same source, or one inferred to be: for "
        "PersonaMem it is not known that both are of one. "
        f"For {_better()} other sources have better ones, listed below.",
        "`ours` is by the scorer of the published figures, `strict` by the one of this project; failed rows "
        "score 0 in both. Readers, backbones and splits of published figures differ from ours.",
        "The 95 % interval is Wilson's, of as many independent questions as have the clustered error (Korn "
        "and Graubard), and of a mean of cells from those of its cells; where all answers are right, or all "
        "wrong, the error is that of a single wrong, or right, one.",
    ]
    counts = sorted({count for cell in cells if (count := plans.questions(cell, settings))})
    lines += [_seen(count) for count in counts]
    for cell in cells:
        lines.append(f"**{cell.name}**: {plans.protocol(cell, settings)}; scored by `{cell.score}`.")
        lines += [f"{cell.name}, {_cited(each)}" for each in (cell.memalpha, cell.best, *cell.others)]
    return lines


def _better() -> str:
    """Cells of which another source has a better figure than the one that stands in the table."""
    found = [
        cell.name
        for cell in published.cells()
        if any(figure.value > cell.best.value for figure in cell.others)
    ]
    return " and ".join(found)


def _seen(questions: int) -> str:
    apart, least = 100 * unpaired(questions), 100 * detectable(questions)
    return (
        f"With {plural(questions, 'question')}, a difference from a published figure, of which no answers "
        f"are known, is mostly not seen below about {apart:.0f} points (both at 50 %), and one between "
        f"systems of this table below {least:.0f} (a fifth of the questions answered otherwise)."
    )


def markdown(cells: Sequence[Cell], made: Made, settings: Settings) -> str:
    """The whole page."""
    parts = ["# Seed table", _said(made, settings)]
    parts += map(pages.markdown, tables(cells, made))
    parts.append("### Protocols and sources\n\n" + "\n".join(f"- {line}" for line in notes(cells, settings)))
    return "\n\n".join(parts) + "\n"


def write_docs(wanted: Sequence[Cell], made: Made, settings: Settings, date: str) -> Path:
    """Writes document and page of `docs`, of all cells; where the document is.

    Raises:
        InvalidInputError: NO_FIGURES: no cell has one, and what was written before stays; or as
            `pages.require`.
    """
    if not any(made.ours.values()):
        message = "no cell has a figure of ours, so the page stays as it is: see --data, --reader and --cells"
        raise make(InvalidInputError, "NO_FIGURES", message)
    cells = published.cells()
    unwanted = {cell.name: _UNWANTED for cell in cells if cell not in wanted}
    whole = replace(made, reasons=unwanted | made.reasons)
    content = {"date": date, **document(cells, whole, settings)}
    head = f"{date}. {_said(made, settings).removesuffix('.')}"
    listed = [*([_PLUMBED] if whole.plumbing else []), *notes(cells, settings)]
    return pages.write(_page(date), content, head, tables(cells, whole), listed)


def require_page() -> None:
    """Refuses a page that could not be written in.

    Raises:
        InvalidInputError: As `pages.require`.
    """
    pages.require(_page(""))


def _page(date: str) -> Page:
    return Page(
        MARKDOWN,
        "<!-- seed table:begin, written by evals seed-table --write-docs -->",
        "<!-- seed table:end -->",
        Path("seed-table") / f"{date}.json",
    )


def document(cells: Sequence[Cell], made: Made, settings: Settings) -> dict[str, Any]:
    """Everything as plain values; shares are from 0 to 1, published figures in percent as they stand.

    Of folders only their names, and of services no address: where they are says nothing to a reader.
    """
    return {
        "settings": asdict(_placeless(settings)) | {"data": settings.data.name if settings.data else ""},
        "writers": [asdict(each) for each in made.writers],
        "readers": [asdict(each) for each in made.readers],
        "plumbing": made.plumbing,
        "cells": [
            {
                **asdict(cell),
                "protocol": plans.protocol(cell, settings),
                "reason": made.reasons.get(cell.name, ""),
                "ours": [asdict(ours) for ours in made.ours.get(cell.name, {}).values()],
            }
            for cell in cells
        ],
    }


def _said(made: Made, settings: Settings) -> str:
    """Who wrote and who answered as the runs say it, or as they were named if there is no run."""
    placeless = _placeless(settings)
    writers = [each.said for each in made.writers] or [f"`{placeless.policy}`"]
    readers = [each.said for each in made.readers] or [f"`{placeless.reader or 'none'}`"]
    return (
        f"Memory is written by {' and '.join(writers)}, preset `{settings.preset}`; "
        f"the reader is {' and '.join(readers)}; seed {settings.seed}."
    )


def _placeless(settings: Settings) -> Settings:
    return replace(settings, policy=who.shown(settings.policy), reader=who.shown_reader(settings.reader))


def _compared(cells: Sequence[Cell], made: Made) -> Iterator[list[str]]:
    for cell in cells:
        head = [cell.name, _figure(cell.memalpha), _figure(cell.best)]
        found = list(made.ours.get(cell.name, {}).values())
        if made.plumbing and found:
            yield [*head, _ELSEWHERE, "", "", "", ""]
        elif not found:
            yield [*head, made.reasons.get(cell.name) or _lacking(cell, made), *[""] * 4]
        else:
            yield from ([*head, *_measured(ours)] for ours in found)


def _lacking(cell: Cell, made: Made) -> str:
    return f"no figure of {', '.join(name for name in cell.mean_of if not made.ours.get(name))}"


def _measured(ours: Ours) -> list[str]:
    return [
        _name(ours),
        _share(ours.paper),
        _interval(ours.paper),
        _share(ours.strict),
        f"{ours.paper.questions:,} in {ours.paper.clusters:,} clusters{_failed(ours)}{_silent(ours)}",
    ]


def _failed(ours: Ours) -> str:
    return f", {ours.failed:,} failed" if ours.failed else ""


def _silent(ours: Ours) -> str:
    return f", {ours.silent:,} answered with nothing" if ours.silent else ""


def _plumbed(cell: Cell, ours: Ours) -> list[str]:
    return [
        cell.name,
        _name(ours),
        _share(ours.paper),
        _share(ours.strict),
        f"{ours.paper.questions:,}",
        f"{ours.failed:,}",
        f"{ours.silent:,}",
        f"{ours.context:,.0f}",
        f"{ours.built:,.0f}",
    ]


def _name(ours: Ours) -> str:
    return f"{ours.system} (sees the question)" if ours.query_aware else ours.system


def _figure(figure: Figure) -> str:
    """A figure with what has to stand beside it: whose it is, if not Mem-alpha's, and how it was come by."""
    system = "" if figure.system == "Mem-α" else figure.system
    beside = (system, "sees the question" if figure.query_aware else "", figure.come_by)
    said = ", ".join(each for each in beside if each)
    return f"{figure.value:g} ({said})" if said else f"{figure.value:g}"


def _share(mean: Mean) -> str:
    return f"{100 * mean.value:.1f}"


def _interval(mean: Mean) -> str:
    if mean.interval is None:
        return f"none: {_why_none(mean)}"
    bounds = (mean.interval.low, mean.interval.high)
    return pages.around(mean.value, bounds, lambda each: f"{100 * each:.1f}")


def _why_none(mean: Mean) -> str:
    if mean.error is None:
        return "too few clusters"
    return "clusters of one cell alike" if mean.error else "all clusters alike"


def _cited(figure: Figure) -> str:
    return f"{figure.system} {figure.value:g}: {figure.source}; {figure.setting}."
