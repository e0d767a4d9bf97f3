"""Our side: figures of finished runs with their intervals, and whether they mean anything.

A reader that is a rule, or a model too small to answer but by chance, shows that the path works and nothing
else: its figures are plumbing and stand in a table of their own, without published ones beside them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from memalpha.tasks.stats import Interval
from memalpha_evals.compare.measured import HEADLINE, measured
from memalpha_evals.rows import Row
from memalpha_evals.runs import Run
from memalpha_evals.runs.compose import reader_parts
from memalpha_evals.seed_table.published import Cell
from memalpha_evals.statistics import Mean

SMALLEST_READER = 100 << 20
"""Bytes of weights. A model with less is one for tests."""


@dataclass(frozen=True, slots=True)
class Ours:
    """What one system has in one cell.

    Attributes:
        query_aware: It reads with the question before it, as MemAgent and MemOCR do and Mem-alpha does not.
        paper: By the score that the published figures have.
        strict: By our headline score.
        failed: Rows without an answer; they score 0.
        silent: Rows whose answer is empty; papers' scorers may give it every point.
        context: Mean o200k tokens of what the reader was given.
        built: Model tokens that building took for each question.
        of: Names of the cells that it is the mean of.
    """

    system: str
    query_aware: bool
    paper: Mean
    strict: Mean
    failed: int
    silent: int
    context: float
    built: float
    of: tuple[str, ...] = ()


def of_run(cell: Cell, run: Run) -> dict[str, Ours]:
    """The figures of a finished run by system, in the order of its manifest."""
    systems = {str(each["name"]): bool(each["query_aware"]) for each in run.manifest["what"]["systems"]}
    found = {name: _ours(cell, name, aware, run.rows) for name, aware in systems.items()}
    return {name: ours for name, ours in found.items() if ours}


def of_mean(cell: Cell, found: Mapping[str, Mapping[str, Ours]]) -> dict[str, Ours]:
    """The mean of cells, of the systems that have all of them."""
    parts = [found.get(name, {}) for name in cell.mean_of]
    common = [name for name in parts[0] if all(name in part for part in parts)]
    return {name: _mean(name, cell.mean_of, [part[name] for part in parts]) for name in common}


def is_plumbing(reader: str, model_free: bool) -> bool:
    """Whether a reader's figures mean nothing."""
    _, spec = reader_parts(reader)
    engine, _, folder = spec.partition(":")
    return model_free or (engine == "transformers" and _weights(Path(folder).expanduser()) < SMALLEST_READER)


def _weights(folder: Path) -> int:
    return sum(path.stat().st_size for pattern in ("*.safetensors", "*.bin") for path in folder.glob(pattern))


def _ours(cell: Cell, system: str, aware: bool, rows: Sequence[Row]) -> Ours | None:
    own = [row for row in rows if row.system == system]
    paper, strict = (measured(own, score, query_aware=aware) for score in (cell.score, HEADLINE))
    if paper is None or strict is None:
        return None
    spent = strict.spending
    silent = sum(not row.answer.strip() and not row.failure for row in own)
    return Ours(system, aware, paper.score, strict.score, strict.failed, silent, spent.context, spent.built)


def _mean(system: str, names: tuple[str, ...], parts: Sequence[Ours]) -> Ours:
    return Ours(
        system=system,
        query_aware=parts[0].query_aware,
        paper=_mean_of(part.paper for part in parts),
        strict=_mean_of(part.strict for part in parts),
        failed=sum(part.failed for part in parts),
        silent=sum(part.silent for part in parts),
        context=fmean(part.context for part in parts),
        built=fmean(part.built for part in parts),
        of=names,
    )


def _mean_of(means: Iterable[Mean]) -> Mean:
    """The mean of independent means; its error is theirs, added in squares.

    So are the ends of its interval, which knows then what is asymmetric (MOVER; Zou & Donner, Statistics in
    Medicine 27, 2008). A mean without an interval leaves it without one.
    """
    parts = list(means)
    value = fmean(part.value for part in parts)
    questions, clusters = sum(part.questions for part in parts), sum(part.clusters for part in parts)
    errors = [part.error for part in parts if part.error is not None]
    error = math.hypot(*errors) / len(parts) if len(errors) == len(parts) else None
    known = [(part.value, part.interval) for part in parts if part.interval]
    if len(known) < len(parts):
        return Mean(value, error, None, questions, clusters)
    low = math.hypot(*(mean - each.low for mean, each in known)) / len(parts)
    high = math.hypot(*(each.high - mean for mean, each in known)) / len(parts)
    return Mean(value, error, Interval(value - low, value + high), questions, clusters)
