"""Runs that differ only in their seeds, taken together: one side for each system, and how much seeds matter.

A question's score and tokens become their means over the runs, and questions are then compared as ever. How
much a system's mean moves from seed to seed is another number and stands beside it; neither is added to the
other. Judging the same answers again is no seed, and neither is the same seed again. Questions are drawn by a
seed of their own (`--draw-seed`), so that all runs have the same ones.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean

from memalpha_evals.compare.measured import measured
from memalpha_evals.compare.sides import Side
from memalpha_evals.compare.tables import percent
from memalpha_evals.pages import Titled
from memalpha_evals.protocols import Usage
from memalpha_evals.rows import Row
from memalpha_evals.statistics import between_seeds

_TOKENS = ("context_tokens", "stored_tokens", "stream_tokens")


def unlike(sides: Sequence[Side]) -> list[str]:
    """Why runs are not the same thing with several seeds, a sentence each; empty: they are."""
    found = [f"system: {name} is not the same in all runs" for name in _changing(sides)]
    runs = {side.run: side.facts.seed for side in sides}
    for seed, count in Counter(runs.values()).items():
        if seed is not None and count > 1:
            same = ", ".join(name for name, each in runs.items() if each == seed)
            found.append(f"seed: {same} all have {seed}")
    return found


def _changing(sides: Sequence[Side]) -> list[str]:
    found: dict[str, set[str]] = {}
    for side in sides:
        identity = json.dumps(side.facts.system(side.system).identity, sort_keys=True)
        found.setdefault(side.system, set()).add(identity)
    return [name for name, identities in found.items() if len(identities) > 1]


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
    finished = all(side.facts.done for side in members)
    facts = replace(first.facts, seed=None, done=finished)
    return replace(first, name=first.system, run="all seeds", facts=facts, rows=rows, seeds=len(members))


def _mean_row(rows: Sequence[Row]) -> Row:
    """A row that failed with any seed is shown as failed; its score is the mean all the same."""
    names = [name for name in rows[0].scores if all(name in row.scores for row in rows)]
    evidence = [row.evidence_recall for row in rows if row.evidence_recall is not None]
    return replace(
        rows[0],
        answer=" | ".join(dict.fromkeys(row.answer for row in rows if row.answer)),
        failure=next((row.failure for row in rows if row.failure), ""),
        truncated=any(row.truncated for row in rows),
        evidence_recall=fmean(evidence) if evidence else None,
        scores={name: fmean(row.scores[name] for row in rows) for name in names},
        built=_mean_usage([row.built for row in rows]),
        read=_mean_usage([row.read for row in rows]),
        **{name: round(fmean(getattr(row, name) for row in rows)) for name in _TOKENS},
    )


def _mean_usage(found: Sequence[Usage]) -> Usage:
    plain = [each.to_dict() for each in found]
    return Usage(**{name: round(fmean(each[name] for each in plain)) for name in plain[0]})


def _value(side: Side, score: str) -> float | None:
    found = measured(list(side.rows.values()), score)
    return found.score.value if found else None
