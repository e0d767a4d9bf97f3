"""Runs that differ only in their seeds, taken together: one side for each system, and how much seeds matter.

A question's score becomes its mean over the runs, and questions are then compared as ever. How much a
system's mean moves from seed to seed is another number and stands beside it; neither is added to the other.
Judging the same answers again is no seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean

from memalpha_evals.compare.measured import measured
from memalpha_evals.compare.sides import Side
from memalpha_evals.compare.tables import percent
from memalpha_evals.pages import Titled
from memalpha_evals.rows import Row
from memalpha_evals.statistics import between_seeds


def together(sides: Sequence[Side]) -> list[Side]:
    """One side for each system, over the questions that all its runs have."""
    return [_mean(each) for each in _by_system(sides)]


def table(sides: Sequence[Side], score: str) -> Titled:
    """Each system's mean in each run, and their standard deviation; a dash below three runs."""
    runs = list(dict.fromkeys(side.run for side in sides))
    rows = []
    for members in _by_system(sides):
        means = {side.run: _value(side, score) for side in members}
        known = [each for each in means.values() if each is not None]
        cells = (percent(means.get(run)) for run in runs)
        rows.append([members[0].system, *cells, percent(between_seeds(known))])
    return "By seed", ["system", *runs, "deviation"], rows


def _by_system(sides: Sequence[Side]) -> list[list[Side]]:
    found: dict[str, list[Side]] = {}
    for side in sides:
        found.setdefault(side.system, []).append(side)
    return list(found.values())


def _mean(members: Sequence[Side]) -> Side:
    first = members[0]
    shared = [key for key in first.rows if all(key in side.rows for side in members)]
    rows = {key: _mean_row([side.rows[key] for side in members]) for key in shared}
    return replace(first, name=first.system, run="all seeds", rows=rows)


def _mean_row(rows: Sequence[Row]) -> Row:
    """A row that failed with any seed is shown as failed; its score is the mean all the same."""
    names = [name for name in rows[0].scores if all(name in row.scores for row in rows)]
    failure = next((row.failure for row in rows if row.failure), "")
    scores = {name: fmean(row.scores[name] for row in rows) for name in names}
    return replace(rows[0], scores=scores, failure=failure)


def _value(side: Side, score: str) -> float | None:
    found = measured(list(side.rows.values()), score)
    return found.score.value if found else None
