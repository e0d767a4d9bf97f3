"""What a run found, in `docs/recall.md`: a part for each data set that has one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from memalpha_evals import pages
from memalpha_evals.pages import Page, Titled
from memalpha_evals.retrieval.store import COMPARED_K

_COMPARED = f"recall@{COMPARED_K}"


def write_docs(content: dict[str, Any], promised: Sequence[list[str]]) -> Path:
    """Writes document and page; where the document is.

    Args:
        content: As `report.document`, with `date`, `cores` and `load`.
        promised: What, bar, measured and verdict of each bar.

    Raises:
        InvalidInputError: `NO_MARKER`.
    """
    name, date = content["dataset"]["name"], content["date"]
    page = Page(
        "recall.md",
        f"<!-- store {name}:begin, written by evals store {name} --write-docs -->",
        f"<!-- store {name}:end -->",
        Path("recall") / f"{date}-{name}.json",
    )
    bars: list[Titled] = [("What is promised", ["", "bar", "measured", ""], list(promised))]
    return pages.write(page, content, _head(content), [*_tables(content), *(bars if promised else [])])


def _head(content: dict[str, Any]) -> str:
    dataset, asked = content["dataset"], content["questions"]
    return (
        f"{content['date']}, {dataset['file']}, {dataset['conversations']} conversations, "
        f"{dataset['turns']:,} {content['protocol']['unit']}s, {asked['scored']:,} questions scored, "
        f"{len(asked['skipped'])} skipped, {content['seconds']:.1f} s in all; "
        f"{content['cores']} cores, load {content['load']}"
    )


def _tables(content: dict[str, Any]) -> Iterator[Titled]:
    systems, protocol = content["systems"], content["protocol"]
    names = [name for name in systems[0]["overall"] if name != "questions"]
    rows = [
        [each["name"], *(_percent(each["overall"][name]) for name in names), f"{each['seconds']:.1f}"]
        for each in systems
    ]
    yield f"{', '.join(protocol['categories'])}, %", ["system", *names, "seconds"], rows
    kinds = list(systems[0]["categories"])
    by_kind = [
        [each["name"], *(_percent(each["categories"][kind][_COMPARED]) for kind in kinds)] for each in systems
    ]
    if len(kinds) > 1 and _COMPARED in names:
        yield f"{_COMPARED} by category, %", ["system", *kinds], by_kind
    yield (
        f"{_COMPARED}, points more",
        ["of", "minus", "mean", "95 %", "better", "worse"],
        _differences(content),
    )


def _differences(content: dict[str, Any]) -> list[list[str]]:
    return [
        [
            each["of"],
            each["minus"],
            f"{100 * each['mean']:+.2f}",
            " to ".join(f"{100 * end:+.2f}" for end in each["interval"] or ()) or "–",
            str(each["questions_better"]),
            str(each["questions_worse"]),
        ]
        for each in content["differences"]
    ]


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"
