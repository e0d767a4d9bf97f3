"""What a judge is asked about a row, and what its verdicts come to.

An option is given with its text, in the right answer and in the one that chooses it: of a letter alone nobody
can say whether it is right. A prompt that grades asks once for each nugget of a rubric, and the score is the
mean. A prompt that orders asks for each line of an answer whether it is the event of a nugget, and there are
both scores of `ordering`; only BEAM's questions about the order of events are judged by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from string import ascii_lowercase

from memalpha_evals.judges.judge import Case
from memalpha_evals.judges.ordering import aligned, complete_score, order_score
from memalpha_evals.judges.prompts import JudgePrompt
from memalpha_evals.rows import Row
from memalpha_evals.scorers.options import chosen

ORDERED = "event_ordering"
"""The category whose rubrics are events in their order."""


def cases(prompt: JudgePrompt, row: Row) -> list[Case]:
    """What is asked about a row; nothing if the prompt does not judge such rows."""
    answer = "" if row.failure else row.answer
    if prompt.ordered:
        asked = row.rubric if row.category == ORDERED else ()
        return [Case(row.question, nugget, line) for line in _lines(answer) for nugget in asked]
    if prompt.graded:
        return [Case(row.question, nugget, answer) for nugget in row.rubric]
    right = [_spelled(each, row.options) for each in row.answers]
    return [Case(row.question, " or ".join(right) or "the conversation does not say", _said(answer, row))]


def score_names(prompt: JudgePrompt) -> list[str]:
    """What the scores of a prompt are called, the first one first."""
    name = f"judge.{prompt.name}"
    return [name, f"{name}_complete"] if prompt.ordered else [name]


def scores(prompt: JudgePrompt, row: Row, found: Sequence[float]) -> dict[str, float]:
    """What the scores of a row's cases come to, each from 0 to 1."""
    names = score_names(prompt)
    if not prompt.ordered or row.failure or not row.answer.strip():
        return dict.fromkeys(names, fmean(found))
    lines, nuggets = _lines(row.answer), list(row.rubric)
    same = [
        [each == 1 for each in found[start : start + len(nuggets)]]
        for start in range(0, len(found), len(nuggets))
    ]
    said = aligned(lines, nuggets, same)
    return dict(zip(names, (order_score(nuggets, said), complete_score(nuggets, said)), strict=True))


def _lines(answer: str) -> list[str]:
    """An answer's events: one a line, as BEAM's own code takes them, which counts blank lines too."""
    return [line.strip() for line in answer.splitlines() if line.strip()] or [""]


def _said(answer: str, row: Row) -> str:
    letter = chosen(answer, row.options) if row.options else ""
    return _spelled(letter, row.options) if letter else answer


def _spelled(answer: str, options: Sequence[str]) -> str:
    """A letter with its option's text; anything else as it is."""
    place = ascii_lowercase.find(answer.strip().lower()) if len(answer.strip()) == 1 else -1
    return f"({answer.strip()}) {options[place]}" if 0 <= place < len(options) else answer
