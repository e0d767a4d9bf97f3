"""Judging many answers at once: known ones for a calibration, and the rows of a run.

All are asks of one scheduler, so that a busy model is asked less, a call that fails is made again, and if
nobody answers everything stops. Nothing comes of it unless all are judged; verdicts that were given are
kept. What is asked about a row is in `cases`; a prompt that needs a rubric judges no row without one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from memalpha.errors import InvalidInputError, MemalphaError, make
from memalpha_evals.judges.audit import Known
from memalpha_evals.judges.calibration import Judged
from memalpha_evals.judges.cases import ORDERED, cases, scores
from memalpha_evals.judges.judge import MOST_TOKENS, Case, Judge, Verdict
from memalpha_evals.judges.prompts import JudgePrompt
from memalpha_evals.judges.verdicts import Verdicts
from memalpha_evals.rows import Row
from memalpha_evals.scheduler import Limits, Patience, Scheduler

LIMITS = Limits(slots=32)

Progress = Callable[[int], None]
"""Called with how many answers more are judged, or nuggets of them."""


async def judge_known(
    judge: Judge,
    known: Sequence[Known],
    progress: Progress,
    kept: Path | None = None,
    patience: Patience | None = None,
) -> list[Judged]:
    """Verdicts on answers of which the truth is known; arguments as of `judge_rows`.

    Raises:
        InvalidInputError: JUDGE_PROMPT; the prompt needs rubrics. VERDICTS_FILE; it cannot be written.
        BusyError: VERDICTS_IN_USE.
        MemalphaError: As `judge_rows`.
    """
    if judge.prompt.graded or judge.prompt.ordered:
        message = f"a calibration needs a prompt with $right, and {judge.prompt.name} asks for nuggets"
        raise make(InvalidInputError, "JUDGE_PROMPT", message, prompt=judge.prompt.name)
    verdicts = await _verdicts(judge, [each.case for each in known], progress, kept, patience)
    return [
        Judged(each.source, each.cluster, each.correct, verdict.score == 1, verdict.unread)
        for each, verdict in zip(known, verdicts, strict=True)
    ]


async def judge_rows(
    judge: Judge,
    rows: Sequence[Row],
    progress: Progress,
    kept: Path | None = None,
    patience: Patience | None = None,
) -> list[Row]:
    """Rows with the judge's score beside their own; failed rows score 0 without being asked.

    Args:
        judge: Is asked.
        rows: Are judged.
        progress: Is told.
        kept: File of verdicts; those in it are not asked for, new ones are added at once.
        patience: With calls that fail.

    Raises:
        InvalidInputError: NO_RUBRIC; the prompt asks for nuggets, and no row has one. VERDICTS_FILE; it
            cannot be written.
        BusyError: VERDICTS_IN_USE.
        Outage: Nobody answers.
        MemalphaError: What the first answer that could not be judged failed by, when all others are judged.
    """
    asked = [cases(judge.prompt, row) for row in rows]
    if rows and not any(asked):
        message = (
            f"prompt {judge.prompt.name} needs rows with a rubric: BEAM's, of runs made since rows keep it"
            f"{f', of the category {ORDERED}' if judge.prompt.ordered else ''}"
        )
        raise make(InvalidInputError, "NO_RUBRIC", message, prompt=judge.prompt.name)
    found = iter(await _verdicts(judge, [case for own in asked for case in own], progress, kept, patience))
    return [
        _with(row, scores(judge.prompt, row, [next(found).score for _ in own])) if own else row
        for row, own in zip(rows, asked, strict=True)
    ]


def count(prompt: JudgePrompt, rows: Sequence[Row]) -> int:
    """How many answers, or nuggets of them, are to be judged."""
    return sum(len(cases(prompt, row)) for row in rows)


def _with(row: Row, judged: Mapping[str, float]) -> Row:
    return replace(row, scores={**row.scores, **judged})


async def _verdicts(
    judge: Judge, asked: Sequence[Case], progress: Progress, kept: Path | None, patience: Patience | None
) -> list[Verdict]:
    with Verdicts(judge, kept) as verdicts:
        left = Counter(case for case in asked if verdicts.get(case) is None)
        progress(len(asked) - left.total())
        failed: list[MemalphaError] = []
        asks = [
            _Judging(judge, case, verdicts, partial(progress, left[case]), failed.append) for case in left
        ]
        await Scheduler(LIMITS, patience).run([], asks)
        if failed:
            raise failed[0]
        return [found for case in asked if (found := verdicts.get(case)) is not None]


@dataclass(frozen=True, slots=True)
class _Judging:
    """An `Ask`: one answer."""

    judge: Judge
    case: Case
    verdicts: Verdicts
    done: Callable[[], None]
    failed: Callable[[MemalphaError], None]
    tokens: int = MOST_TOKENS
    endpoint: str = "judge"

    async def run(self) -> None:
        """See `Ask`."""
        self.verdicts.add(self.case, await self.judge.verdict(self.case))
        self.done()

    def fail(self, error: MemalphaError) -> None:
        """See `Ask`."""
        self.failed(error)
