"""Questions that two sides answer differently well, in a file for a person to read.

Numbers say that two systems differ; these pairs say why. The column `verdict` is for the person who reads.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from memalpha.errors import InvalidInputError, make
from memalpha_evals.compare.paired import Comparison, paired
from memalpha_evals.rows import Row

HEADER = (
    *("side", "baseline", "conversation", "question_id", "category", "question", "right"),
    *("side_score", "baseline_score", "side_answer", "baseline_answer", "verdict"),
)


def write(path: Path, comparisons: Sequence[Comparison], score: str) -> int:
    """Writes all pairs with different scores as CSV, the largest differences first; how many there are.

    Raises:
        InvalidInputError: NOT_WRITTEN; the path takes no file.
    """
    rows = [row for each in comparisons for row in _rows(each, score)]
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(HEADER)
            writer.writerows(rows)
    except OSError as error:
        message = f"pairs cannot be written to {path}: {error.strerror or error}"
        raise make(InvalidInputError, "NOT_WRITTEN", message, path=path) from None
    return len(rows)


def _rows(comparison: Comparison, score: str) -> list[tuple[object, ...]]:
    side, baseline = comparison.side, comparison.baseline
    pairs = [pair for pair in paired(baseline, side, score) if pair[1] != pair[2]]
    rows = []
    for row, ours, theirs in sorted(pairs, key=lambda pair: -abs(pair[1] - pair[2])):
        other = side.rows[row.conversation, row.question_id]
        right = "(cannot be answered)" if row.unanswerable else " | ".join(row.answers)
        said = map(_said, (other, row))
        where = (row.conversation, row.question_id, row.category, row.question, right)
        rows.append((side.name, baseline.name, *where, ours, theirs, *said, ""))
    return rows


def _said(row: Row) -> str:
    return f"(failed: {row.failure})" if row.failure else row.answer or "(said nothing)"
