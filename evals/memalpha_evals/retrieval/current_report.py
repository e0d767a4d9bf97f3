"""A run of `current` as tables, a JSON document and the part of `docs/current.md`; all say the same."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from memalpha.tasks.stats import Interval
from memalpha_evals import pages
from memalpha_evals.pages import Page, Titled
from memalpha_evals.retrieval.current import FIRST, KINDS, Result
from memalpha_evals.retrieval.retrievers import Retriever
from memalpha_evals.statistics import CONFIDENCE, Mean

_ALL = "both kinds"


def document(result: Result, systems: Sequence[Retriever], file: str, date: str) -> dict[str, Any]:
    """The JSON document of a run; shares from 0 to 1."""
    groups = {_ALL: result} | {kind: result.of(kind) for kind in KINDS}
    return {
        "date": date,
        "dataset": {"name": "beam", "file": file},
        "chats": result.chats,
        "questions": len(result.pairs),
        "left_out": result.left_out,
        "first": FIRST,
        "confidence": CONFIDENCE,
        "systems": {system.name: system.about for system in systems},
        "groups": {name: _group(found) for name, found in groups.items() if found.pairs},
    }


def _group(result: Result) -> dict[str, Any]:
    return {
        "questions": len(result.pairs),
        "chance": result.chance,
        "systems": {name: _system(result, name) for name in result.scores},
    }


def _system(result: Result, name: str) -> dict[str, Any]:
    beyond = result.beyond_chance(name)
    return {
        "above": _mean(result.above(name)),
        "both": _mean(result.both(name)),
        "beyond_chance": {"share": beyond.mean, "interval": _bounds(beyond.interval)},
    }


def _mean(found: Mean) -> dict[str, Any]:
    return {"share": found.value, "interval": _bounds(found.interval)}


def _bounds(interval: Interval | None) -> list[float] | None:
    return [interval.low, interval.high] if interval else None


def tables(content: dict[str, Any]) -> list[Titled]:
    """A line for each system, a column for each group."""
    groups: dict[str, Any] = content["groups"]
    header = ["system", *(f"{name} ({group['questions']})" for name, group in groups.items())]
    chance = ["by lot", *(f"{100 * group['chance']:.1f}" for group in groups.values())]
    return [
        ("later side above the earlier, %", header, [*_rows(content, "above"), chance]),
        ("the same beyond chance, points", header, _rows(content, "beyond_chance", "+")),
        (f"both sides among the first {content['first']}, %", header, _rows(content, "both")),
    ]


def _rows(content: dict[str, Any], measure: str, sign: str = "") -> list[list[str]]:
    return [
        [name, *(_shown(group["systems"][name][measure], sign) for group in content["groups"].values())]
        for name in content["systems"]
    ]


def _shown(found: dict[str, Any], sign: str) -> str:
    share, bounds = found["share"], found["interval"]
    shown = f"{100 * share:{sign}.1f}"
    if not bounds:
        return shown
    low, high = (f"{100 * each:.1f}" for each in bounds)
    around = f"{low} to {high}" if sign else pages.around(share, bounds, lambda each: f"{100 * each:.1f}")
    return f"{shown} ({around})"


def head(content: dict[str, Any]) -> str:
    """What was asked."""
    return (
        f"{content['date']}, {content['dataset']['file']}, {content['chats']} chats, {content['questions']} "
        f"questions; {content['left_out']} without an earlier and a later side are left out"
    )


def write_docs(content: dict[str, Any]) -> Path:
    """Writes `docs/current/DATE.json` and the part between the markers of `docs/current.md`.

    Raises:
        InvalidInputError: `NO_MARKER`; nothing is written.
    """
    page = Page(
        "current.md",
        "<!-- current:begin, written by evals store current --write-docs -->",
        "<!-- current:end -->",
        Path("current") / f"{content['date']}.json",
    )
    return pages.write(page, content, head(content), tables(content))
