"""What a task is made of: a stream of chunks, and questions to be answered from memory alone afterwards.

An instance holds everything a rollout and its scorer need and nothing that depends on a run. It is checked
once, when it is made, so that no reader of it checks again; `from_dict(to_dict(x)) == x`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NoReturn, Self, get_args

from memalpha.errors import InvalidInputError, make

Metric = Literal["strict", "exact_match", "f1", "substring", "parts", "label", "keywords", "rouge_l", "judge"]
"""How an answer is scored; see `memalpha.tasks.scoring`. `judge` needs a model."""

METRICS: tuple[str, ...] = get_args(Metric)


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of the stream; `event_time` is an ISO 8601 date or date-time, or empty."""

    text: str
    event_time: str = ""

    def __post_init__(self) -> None:
        """Refuses a blank text and a time that is none."""
        if not self.text.strip():
            _refuse("chunk.text", "must not be empty or blank", self.text)
        _require_utf8("chunk.text", self.text)
        _require_time("chunk.event_time", self.event_time)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as JSON has them."""
        return {"text": self.text, "event_time": self.event_time}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Self:
        """What `to_dict` was given."""
        _require_keys("chunk", raw, {"text"})
        return cls(_text("chunk.text", raw["text"]), _text("chunk.event_time", raw.get("event_time", "")))


@dataclass(frozen=True, slots=True)
class Question:
    """A question about the stream.

    Attributes:
        question: As it is asked.
        answers: Any of these is right; at least one, the first is the one to show.
        metric: How an answer is scored.
        evidence: Indexes of the chunks that decide the answer, ascending; empty where that is not known.
        kind: The group it is averaged in, or empty.
        time: When it is asked, as an ISO 8601 date or date-time, or empty.
    """

    question: str
    answers: tuple[str, ...]
    metric: Metric
    evidence: tuple[int, ...] = ()
    kind: str = ""
    time: str = ""

    def __post_init__(self) -> None:
        """Refuses what could not be asked or scored."""
        if not self.question.strip():
            _refuse("question.question", "must not be empty or blank", self.question)
        if not self.answers or not all(answer.strip() for answer in self.answers):
            _refuse("question.answers", "must hold at least one answer, none of them blank", self.answers)
        if self.metric not in METRICS:
            _refuse("question.metric", f"must be one of {', '.join(METRICS)}", self.metric)
        if list(self.evidence) != sorted({each for each in self.evidence if each >= 0}):
            _refuse("question.evidence", "must be ascending chunk indexes from 0", self.evidence)
        _require_time("question.time", self.time)
        for name, texts in (
            ("question", (self.question,)),
            ("answers", self.answers),
            ("kind", (self.kind,)),
        ):
            _require_utf8(f"question.{name}", *texts)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as JSON has them."""
        return {
            "question": self.question,
            "answers": list(self.answers),
            "metric": self.metric,
            "evidence": list(self.evidence),
            "kind": self.kind,
            "time": self.time,
        }

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Self:
        """What `to_dict` was given."""
        _require_keys("question", raw, {"question", "answers", "metric"})
        answers, evidence = raw["answers"], raw.get("evidence", [])
        if not isinstance(answers, list | tuple):
            _refuse("question.answers", "must be a list of texts", answers)
        if not isinstance(evidence, list | tuple) or not all(type(each) is int for each in evidence):
            _refuse("question.evidence", "must be a list of numbers", evidence)
        return cls(
            question=_text("question.question", raw["question"]),
            answers=tuple(_text("question.answers", each) for each in answers),
            metric=raw["metric"],
            evidence=tuple(evidence),
            kind=_text("question.kind", raw.get("kind", "")),
            time=_text("question.time", raw.get("time", "")),
        )


@dataclass(frozen=True, slots=True)
class Instance:
    """One stream with its questions; `source` names where it is from, and with that how it is reported."""

    instance_id: str
    source: str
    chunks: tuple[Chunk, ...]
    questions: tuple[Question, ...]

    def __post_init__(self) -> None:
        """Refuses an instance without a name, chunks or questions, and evidence that is not there."""
        for name, value in (("instance_id", self.instance_id), ("source", self.source)):
            if not value.strip():
                _refuse(f"instance.{name}", "must not be empty or blank", value)
            _require_utf8(f"instance.{name}", value)
        for name, value in (("chunks", self.chunks), ("questions", self.questions)):
            if not value:
                _refuse(f"instance.{name}", "must not be empty", value)
        for question in self.questions:
            if question.evidence and question.evidence[-1] >= len(self.chunks):
                rule = f"must be indexes of the {len(self.chunks)} chunks"
                _refuse("question.evidence", rule, question.evidence)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as JSON has them."""
        return {
            "instance_id": self.instance_id,
            "source": self.source,
            "chunks": [each.to_dict() for each in self.chunks],
            "questions": [each.to_dict() for each in self.questions],
        }

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Self:
        """What `to_dict` was given.

        Raises:
            InvalidInputError: `INVALID_INSTANCE`; the message names the field, the rule and the value.
        """
        _require_keys("instance", raw, {"instance_id", "source", "chunks", "questions"})
        for name in ("chunks", "questions"):
            if not isinstance(raw[name], list | tuple):
                _refuse(f"instance.{name}", "must be a list", raw[name])
        return cls(
            instance_id=_text("instance.instance_id", raw["instance_id"]),
            source=_text("instance.source", raw["source"]),
            chunks=tuple(Chunk.from_dict(each) for each in raw["chunks"]),
            questions=tuple(Question.from_dict(each) for each in raw["questions"]),
        )


def _refuse(field: str, rule: str, value: object) -> NoReturn:
    shown = f"{value!r:.100}"
    raise make(
        InvalidInputError, "INVALID_INSTANCE", f"{field} {rule}, not {shown}", field=field, value=shown
    )


def _require_time(field: str, value: str) -> None:
    _require_utf8(field, value)  # it may stand between date and time, where any character may
    try:
        if value:
            datetime.fromisoformat(value)
    except ValueError:
        _refuse(field, "must be an ISO 8601 date or date-time, or empty", value)


def _require_utf8(field: str, *texts: str) -> None:
    """Refuses what no file or memory can hold."""
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            rule = "must be text that UTF-8 can hold, without half a surrogate pair"
            _refuse(field, rule, text[max(0, error.start - 20) : error.end + 20])


def _require_keys(name: str, raw: object, keys: set[str]) -> None:
    if not isinstance(raw, Mapping):
        _refuse(name, "must be an object", raw)
    if missing := sorted(keys - raw.keys()):
        _refuse(name, f"must have {', '.join(missing)}", sorted(raw))


def _text(field: str, value: object) -> str:
    if not isinstance(value, str):
        _refuse(field, "must be text", value)
    return value
