"""Scores of a row, all side by side: `strict.NAME` is ours, `paper.NAME` its benchmark's own.

Scoring is pure: it needs the row and nothing else, so that a run can be scored again without a model. A row
that failed scores 0 by every name that it would have had. Scores of judges are made elsewhere, are called
`judge.NAME`, and never take the place of these.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Literal

from memalpha_evals.rows import Row
from memalpha_evals.scorers import paper, strict

Kind = Literal["options", "unanswerable", "label", "long", "short"]

PRIMARY: dict[Kind, str] = {
    "options": "strict.option",
    "unanswerable": "strict.abstention",
    "label": "strict.label",
    "long": "strict.f1",
    "short": "strict.contains",
}
"""The headline score of each kind of row."""

SCORERS: dict[str, Callable[[Row], dict[str, float]]] = {"strict": strict.scores, "paper": paper.scores}

_LONG = frozenset({"keywords", "rouge_l", "judge", "parts"})
"""Metrics of answers that are texts: nobody says them word by word."""


def kind(row: Row) -> Kind:
    """What sort of answer a row asks for."""
    if row.options:
        return "options"
    if row.unanswerable:
        return "unanswerable"
    if row.metric == "label":
        return "label"
    return "long" if row.metric in _LONG else "short"


def primary(row: Row) -> str:
    """The name of a row's headline score."""
    return PRIMARY[kind(row)]


def score(row: Row) -> dict[str, float]:
    """All scores of a row, by scorer and name, each from 0 to 1."""
    if row.failure:
        return dict.fromkeys(score(replace(row, failure="", answer="")), 0.0)
    found = {f"{by}.{name}": value for by, of in SCORERS.items() for name, value in of(row).items()}
    return {name: float(value) for name, value in found.items()}


def headline(row: Row, scores: Mapping[str, float] | None = None) -> float:
    """The headline score of a row, by its own scores or by those given."""
    return (row.scores if scores is None else scores)[primary(row)]
