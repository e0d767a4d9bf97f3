"""Instances: what they refuse, and that JSON gives them back."""

import json
from typing import Any

import pytest

from memalpha.errors import InvalidInputError
from memalpha.tasks import Chunk, Instance, Question


def instance(**changed: Any) -> Instance:
    fields: dict[str, Any] = {
        "instance_id": "one",
        "source": "squad",
        "chunks": (Chunk("Ada lives in Oslo.", "2024-05-01"), Chunk("It rained.")),
        "questions": (question(),),
    }
    return Instance(**fields | changed)


def question(**changed: Any) -> Question:
    fields: dict[str, Any] = {
        "question": "Where does Ada live?",
        "answers": ("Oslo", "in Oslo"),
        "metric": "substring",
        "evidence": (0,),
        "kind": "current",
        "time": "2024-05-03T10:00",
    }
    return Question(**fields | changed)


def test_json_gives_an_instance_back() -> None:
    one = instance()
    assert Instance.from_dict(json.loads(json.dumps(one.to_dict()))) == one


def test_what_has_a_default_may_be_missing() -> None:
    raw = {"question": "Where?", "answers": ["Oslo"], "metric": "f1"}
    assert Question.from_dict(raw) == Question("Where?", ("Oslo",), "f1")
    assert Chunk.from_dict({"text": "It rained."}) == Chunk("It rained.")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"question": " "}, "question.question must not be empty or blank, not ' '"),
        ({"answers": ()}, "question.answers must hold at least one answer"),
        ({"answers": ("Oslo", "")}, "none of them blank"),
        ({"metric": "bleu"}, "question.metric must be one of strict, exact_match"),
        ({"evidence": (1, 0)}, r"question.evidence must be ascending chunk indexes from 0, not \(1, 0\)"),
        ({"evidence": (-1,)}, "ascending chunk indexes"),
        ({"time": "yesterday"}, "question.time must be an ISO 8601 date or date-time"),
    ],
)
def test_a_question_that_cannot_be_asked_or_scored_is_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message) as refused:
        question(**changed)
    assert refused.value.reason == "INVALID_INSTANCE"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"instance_id": ""}, "instance.instance_id must not be empty"),
        ({"chunks": ()}, "instance.chunks must not be empty"),
        ({"questions": ()}, "instance.questions must not be empty"),
        ({"questions": (question(evidence=(2,)),)}, r"indexes of the 2 chunks, not \(2,\)"),
    ],
)
def test_an_instance_with_a_piece_missing_is_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        instance(**changed)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ([], r"instance must be an object, not \[\]"),
        ({"instance_id": "one"}, "instance must have chunks, questions, source"),
        ({**instance().to_dict(), "instance_id": 7}, "instance.instance_id must be text, not 7"),
        ({**instance().to_dict(), "chunks": ["text"]}, "chunk must be an object, not 'text'"),
        ({**instance().to_dict(), "chunks": "text"}, "instance.chunks must be a list, not 'text'"),
    ],
)
def test_json_of_another_form_is_refused(raw: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        Instance.from_dict(raw)


def test_evidence_must_be_whole_numbers() -> None:
    with pytest.raises(InvalidInputError, match=r"question.evidence must be a list of numbers, not \[True\]"):
        Question.from_dict({"question": "Where?", "answers": ["Oslo"], "metric": "f1", "evidence": [True]})


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: Chunk("Ada \ud83d lives."), "chunk.text"),
        (lambda: question(question="Where \udc00?"), "question.question"),
        (lambda: question(answers=("Oslo", "\ud83d")), "question.answers"),
        (lambda: question(kind="\ud83d"), "question.kind"),
        (lambda: Chunk("Ada", "2024-05-01\ud83d10:00"), "chunk.event_time"),
        (lambda: instance(instance_id="\ud83d"), "instance.instance_id"),
    ],
)
def test_half_a_surrogate_pair_is_refused_when_it_comes_in(make: Any, field: str) -> None:
    with pytest.raises(InvalidInputError, match=f"{field} must be text that UTF-8 can hold") as refused:
        make()
    str(refused.value).encode()  # the complaint itself can be printed
    assert Chunk("Ada 😀 lives.").text
