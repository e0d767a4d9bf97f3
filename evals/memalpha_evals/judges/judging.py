"""Judging many answers at once: known ones for a calibration, and the rows of a run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

from memalpha_evals.judges.audit import Known
from memalpha_evals.judges.calibration import Judged
from memalpha_evals.judges.judge import Case, Judge, Verdict
from memalpha_evals.rows import Row

IN_FLIGHT = 32

Progress = Callable[[int], None]
"""Called with 1 for each answer that is judged."""


async def judge_known(judge: Judge, known: Sequence[Known], progress: Progress) -> list[Judged]:
    """Verdicts on answers of which the truth is known."""
    verdicts = await _verdicts(judge, [each.case for each in known], progress)
    return [
        Judged(each.source, each.correct, verdict.correct, verdict.unread)
        for each, verdict in zip(known, verdicts, strict=True)
    ]


async def judge_rows(judge: Judge, rows: Sequence[Row], progress: Progress) -> list[Row]:
    """Rows with the judge's score beside their own; failed rows score 0 without being asked."""
    verdicts = await _verdicts(judge, [_case(row) for row in rows], progress)
    name = f"judge.{judge.prompt.name}"
    return [
        replace(row, scores={**row.scores, name: float(verdict.correct)})
        for row, verdict in zip(rows, verdicts, strict=True)
    ]


def _case(row: Row) -> Case:
    right = " or ".join(row.answers) or "the conversation does not say"
    return Case(row.question, right, "" if row.failure else row.answer)


async def _verdicts(judge: Judge, cases: Sequence[Case], progress: Progress) -> list[Verdict]:
    room = asyncio.Semaphore(IN_FLIGHT)

    async def one(case: Case) -> Verdict:
        async with room:
            found = await judge.verdict(case)
        progress(1)
        return found

    return await asyncio.gather(*map(one, cases))
