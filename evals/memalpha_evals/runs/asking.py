"""One question with its context, on its way to the reader; and the row that it becomes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from time import perf_counter
from typing import Any

from memalpha.errors import MemalphaError
from memalpha_evals.datasets import Dataset
from memalpha_evals.protocols import Answer, Context, Reader, System
from memalpha_evals.rows import Row
from memalpha_evals.streams import AskedQuestion

_PROMPT_TOKENS = 512
"""About what a reader has in flight besides the context: its own words, the question and the answer."""


class Asking:
    """An `Ask` of the scheduler."""

    def __init__(
        self,
        reader: Reader,
        endpoint: str,
        asked: AskedQuestion,
        context: Context,
        row: Row,
        done: Callable[[Row], None],
    ) -> None:
        """A question as the reader is asked it, its row without an answer, and who takes the row."""
        self._reader, self._asked, self._context = reader, asked, context
        self.endpoint = endpoint
        self._row, self._done = row, done

    @property
    def tokens(self) -> int:
        """See `Ask`."""
        return self._context.tokens + _PROMPT_TOKENS

    async def run(self) -> None:
        """See `Ask`."""
        start = perf_counter()
        answer = await self._reader.answer(self._context, self._asked)
        self._done(with_answer(self._row, answer, perf_counter() - start))

    def fail(self, error: MemalphaError) -> None:
        """See `Ask`."""
        self._done(failed(self._row, f"reader: {error}"))


def endpoint(of: System | Reader, address: str) -> str:
    """Who answers its calls: the address of the policy that it asks, or, if it asks none, itself.

    Two services of one policy have one identity, and one may be away while the other answers.
    """
    policy = of.identity.get("policy")
    if policy is None:
        return f"{type(of).__name__} {of.name}"
    return address or json.dumps(policy, sort_keys=True)


def clusters(dataset: Dataset) -> dict[tuple[str, str], str]:
    """The cluster of each question, by conversation and question id."""
    return {
        (conversation.id, question.id or str(place)): dataset.cluster_of(conversation, place)
        for conversation in dataset.conversations
        for place, question in enumerate(conversation.questions)
    }


def asked_fields(asked: AskedQuestion, metric: str) -> dict[str, Any]:
    """Those fields of a row that its question decides; `metric` is the data set's."""
    question = asked.question
    return {
        "question_id": asked.id,
        "category": question.category,
        "question": question.text,
        "answers": tuple(filter(None, (question.answer, *question.aliases))),
        "options": question.options,
        "unanswerable": question.unanswerable,
        "metric": question.metric or metric,
        "rubric": question.rubric,
    }


def with_context(row: Row, context: Context, seconds: float) -> Row:
    """The row of a question whose context is known."""
    return replace(
        row,
        context=context.text,
        context_tokens=context.tokens,
        stored_tokens=context.stored_tokens,
        truncated=context.truncated,
        timing={"context": round(seconds, 4)},
    )


def with_answer(row: Row, answer: Answer, seconds: float) -> Row:
    """The row of a question that is answered."""
    timing = {**row.timing, "answer": round(seconds, 4)}
    return replace(row, answer=answer.text, read=answer.usage, details=answer.details, timing=timing)


def failed(row: Row, why: str) -> Row:
    """The row of a question that nobody answers."""
    return replace(row, failure=why)
