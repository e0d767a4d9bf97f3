"""What is measured of one side: scores, what failed, and what it took in tokens."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from statistics import fmean

from memalpha.errors import NotFoundError, make
from memalpha_evals import scorers
from memalpha_evals.rows import Row
from memalpha_evals.scorers.abstention import Abstention, abstention
from memalpha_evals.statistics import Mean, clustered_share

HEADLINE = "headline"
"""Each row by the score of its kind, `scorers.PRIMARY`."""

OVERALL, ANSWERABLE = "overall", "answerable"


@dataclass(frozen=True, slots=True)
class Spending:
    """Tokens for each question, as means.

    Attributes:
        built: Model tokens that reading took, in and out, shared among the questions of the stream.
        stored: o200k tokens of all that the system held.
        context: o200k tokens of what the reader was given.
        read: Model tokens that answering took, in and out.
        calls: Model calls while reading, as `built`.
    """

    built: float
    stored: float
    context: float
    read: float
    calls: float


@dataclass(frozen=True, slots=True)
class Measured:
    """One side's rows, summed up.

    Attributes:
        score: Of the headline or the chosen score.
        failed: Rows without an answer; they score 0.
        truncated: Rows whose system had more to say than the budget let through.
        evidence: Mean share of the evidence in the context, where that is known.
    """

    score: Mean
    failed: int
    truncated: int
    evidence: float | None
    abstention: Abstention
    spending: Spending


def value(row: Row, score: str) -> float | None:
    """A row's score by name; None if it has none of this name."""
    return row.scores.get(scorers.primary(row) if score == HEADLINE else score)


def require_score(rows: Collection[Row], score: str) -> None:
    """Refuses a score that no row has.

    Raises:
        NotFoundError: NO_SCORE; it names those that there are.
    """
    if score != HEADLINE and not any(score in row.scores for row in rows):
        known = ", ".join(sorted({name for row in rows for name in row.scores})) or "none"
        message = f"no row has a score {score}; there are {HEADLINE}, {known}"
        raise make(NotFoundError, "NO_SCORE", message, score=score)


def measured(rows: Sequence[Row], score: str = HEADLINE, *, query_aware: bool = False) -> Measured | None:
    """Sums up a side, over the rows that have the score; None if there is no such row."""
    pairs = [(row, found) for row in rows if (found := value(row, score)) is not None]
    if not pairs:
        return None
    used = [row for row, _ in pairs]
    known = [row.evidence_recall for row in used if row.evidence_recall is not None]
    return Measured(
        score=clustered_share([found for _, found in pairs], [row.cluster for row in used]),
        failed=sum(bool(row.failure) for row in used),
        truncated=sum(row.truncated for row in used),
        evidence=fmean(known) if known else None,
        abstention=abstention(used),
        spending=spending(used, query_aware=query_aware),
    )


def spending(rows: Sequence[Row], *, query_aware: bool = False) -> Spending:
    """What rows took. A stream that is read once for all its questions counts once."""
    last: dict[str, Row] = {}
    for row in rows:
        name = f"{row.conversation} {row.question_id}" if query_aware else row.conversation
        if name not in last or row.built.calls >= last[name].built.calls:
            last[name] = row
    built = [row.built for row in last.values()]
    count = len(rows)
    return Spending(
        built=sum(each.prompt_tokens + each.completion_tokens for each in built) / count,
        stored=fmean(row.stored_tokens for row in rows),
        context=fmean(row.context_tokens for row in rows),
        read=fmean(row.read.prompt_tokens + row.read.completion_tokens for row in rows),
        calls=sum(each.calls for each in built) / count,
    )


def parts(rows: Collection[Row], apart: Collection[str] = ()) -> dict[str, Callable[[Row], bool]]:
    """What a table has a line for.

    The first line is the one that claims are made about: the rows that can be answered, without the
    categories that the paper's overall figure leaves out (`apart`), of which a file may hold some with an
    answer. Then, if that leaves some out, all rows, of which a system that always abstains gets a share;
    those of the paper's categories, if that is another line; and each category.
    """
    lines: dict[str, Callable[[Row], bool]] = {}
    categories = dict.fromkeys(row.category for row in rows)
    left_out = sorted(set(apart) & set(categories))
    answerable = [row for row in rows if _is_claimed(row, left_out)]
    if 0 < len(answerable) < len(rows):
        lines[ANSWERABLE] = lambda row: _is_claimed(row, left_out)
    lines[OVERALL] = lambda row: True
    kept = sum(row.category not in left_out for row in rows)
    if left_out and kept not in (0, len(answerable)):
        lines[f"{OVERALL}, without {', '.join(left_out)}"] = lambda row: row.category not in left_out
    if len(categories) > 1:
        lines |= {name or "(none)": _in(name) for name in categories}
    return lines


def _is_claimed(row: Row, left_out: Collection[str]) -> bool:
    return not row.unanswerable and row.category not in left_out


def _in(category: str) -> Callable[[Row], bool]:
    return lambda row: row.category == category
