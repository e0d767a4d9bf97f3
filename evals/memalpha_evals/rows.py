"""One row: one question to one system, with all that scoring, comparing and exporting need.

Rows hold what was asked and answered, never what depends on when or where it ran: those fields are in
`timing`, and two runs of the same thing are equal without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from memalpha_evals.protocols import NO_USAGE, Usage


@dataclass(frozen=True, slots=True)
class Row:
    """One question to one system.

    Attributes:
        dataset: The suite's name.
        conversation: Id of the stream.
        question_id: Its own within the stream.
        cluster: Rows of one cluster are not independent of one another.
        question: As it was asked.
        answers: The right ones, the first is the one to show.
        options: Texts to choose from; empty: the answer is free.
        unanswerable: The right answer is to say that the stream does not say.
        metric: What its paper scores it by, a name of `memalpha.tasks.METRICS`, or empty.
        rubric: What a judge looks for in an answer, one nugget each; empty: the data have none.
        answer: What the reader said; empty if it failed.
        failure: Why there is no answer; empty if there is one. Such a row scores 0 and is counted.
        context: What the reader was given.
        context_tokens: o200k tokens of the context.
        stored_tokens: o200k tokens of all that the system held.
        stream_tokens: o200k tokens that had been read.
        truncated: The system had more to say than the budget let through.
        built: What reading the stream took up to here, all of it, not a share.
        read: What answering took.
        evidence_recall: Share of the word pairs of the evidence turns that the context holds, see
            `runs.evidence`; None: no evidence known.
        scores: By scorer and metric, such as `strict.f1` or `paper.substring`, each from 0 to 1.
        details: Of the reader.
        timing: Seconds, by name; left out when rows are compared.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    dataset: str
    system: str
    reader: str
    conversation: str
    question_id: str
    category: str
    cluster: str
    question: str
    answers: tuple[str, ...]
    options: tuple[str, ...] = ()
    unanswerable: bool = False
    metric: str = ""
    rubric: tuple[str, ...] = ()
    answer: str = ""
    failure: str = ""
    context: str = ""
    context_tokens: int = 0
    stored_tokens: int = 0
    stream_tokens: int = 0
    truncated: bool = False
    built: Usage = NO_USAGE
    read: Usage = NO_USAGE
    evidence_recall: float | None = None
    scores: Mapping[str, float] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    timing: Mapping[str, float] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str, str]:
        """What makes it one row of its run: system, conversation and question."""
        return self.system, self.conversation, self.question_id

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as JSON has them."""
        # `asdict` copies deeply, which costs a runner more than all else that it does for a row.
        values = {name: getattr(self, name) for name in self.__slots__}
        return values | {"built": self.built.to_dict(), "read": self.read.to_dict()}

    @staticmethod
    def from_dict(raw: Mapping[str, Any]) -> Row:
        """What `to_dict` was given.

        Raises:
            ValueError: It is of another shape; the message names the field.
        """
        try:
            return _SHAPE.validate_python(raw)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None


_SHAPE = TypeAdapter(Row)
