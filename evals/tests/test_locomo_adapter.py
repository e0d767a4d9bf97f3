"""The adapter: what the official form becomes, and which files it refuses."""

import gzip
import hashlib
import json
from pathlib import Path

import pytest

from memalpha_evals.datasets import DatasetError, Turn, locomo

TINY = Path(__file__).parent / "data" / "tiny_locomo.json"


def sample(**changes):
    return {**json.loads(TINY.read_text())[0], **changes}


def turn(id_, text="Hi."):
    return {"speaker": "Ann", "dia_id": id_, "text": text}


def write(path, value):
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def test_turns_carry_speaker_caption_and_time_of_their_session() -> None:
    (conversation,) = locomo.read(TINY).conversations
    assert conversation.id == "conv-1"
    assert [turn.id for turn in conversation.turns] == ["D1:1", "D1:2", "D1:3", "D2:1", "D2:2"]
    text = "Bo: We adopted a greyhound. [shares a dog on a sofa]"
    assert conversation.turns[1] == Turn("D1:2", text, "2023-05-08T13:56", "Bo")
    assert conversation.turns[3].time == "2023-06-09T10:00"


def test_sessions_are_read_in_the_order_of_their_numbers(tmp_path) -> None:
    conversation = {f"session_{n}": [turn(f"D{n}:1")] for n in (10, 9, 1)}
    dataset = locomo.read(write(tmp_path / "f.json", sample(conversation=conversation, qa=[])))
    assert [turn.id for turn in dataset.conversations[0].turns] == ["D1:1", "D9:1", "D10:1"]


def test_evidence_is_split_normalised_and_sorted_from_what_names_no_turn() -> None:
    questions = locomo.read(TINY).conversations[0].questions
    assert questions[1].evidence == {"D1:1", "D1:3"}
    assert questions[2].evidence == {"D1:2"}
    assert questions[2].bad_evidence == ("D9:9",)
    assert questions[5].evidence == frozenset()
    assert questions[5].bad_evidence == ("D",)


def test_categories_are_named_and_answers_are_text() -> None:
    questions = locomo.read(TINY).conversations[0].questions
    names = ["single-hop", "multi-hop", "open-domain", "temporal", "adversarial", "open-domain"]
    assert [question.category for question in questions] == names
    assert (questions[3].answer, questions[4].answer) == ("7", "")


def test_gzip_and_a_single_sample_are_read_too(tmp_path) -> None:
    data = gzip.compress(json.dumps(sample()).encode())
    path = tmp_path / "one.json.gz"
    path.write_bytes(data)
    dataset = locomo.read(path)
    assert dataset.turn_count == 5
    assert dataset.sha256 == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"a": 1}', 'is not LoCoMo: every sample needs a "conversation"'),
        ("[]", "is not LoCoMo"),
        ("{", "is not JSON: .* line 1, column 2"),
        ("", "is empty"),
        (sample(qa=None), 'sample conv-1: "qa" must be an array of questions, not null'),
        (sample(qa=[{"question": " "}]), 'question 1 needs a "question" that is not empty'),
        (sample(qa=[{"question": "Q", "category": 9}]), '"category" must be a number from 1 to 5, not 9'),
        (
            sample(qa=[{"question": "Q", "category": 1, "evidence": [1]}]),
            '"evidence" must be an array',
        ),
        (sample(conversation={"session_1": 3}), "session 1 must be an array of turns, not a number"),
        (sample(conversation={"session_1": [{}]}), "session 1, turn 1 must be an object with the strings"),
        (
            sample(conversation={"session_1": [], "session_1_date_time": "noon"}),
            "session 1: a time must",
        ),
        (
            sample(conversation={"session_1": [turn("D1:1")] * 2}),
            "dia_id must be unique",
        ),
        (sample(conversation={"session_1": [turn("D1:1", "\ud800")]}), "turn 1 holds half a surrogate pair"),
        (sample(qa=[{"question": "\ud800", "category": 1}]), "question 1 holds half a surrogate pair"),
        ([sample(), sample()], "sample_id must be unique, but 'conv-1' comes twice"),
    ],
)
def test_a_file_of_another_form_is_refused_with_place_and_rule(tmp_path, content, message) -> None:
    with pytest.raises(DatasetError, match=message):
        locomo.read(write(tmp_path / "f.json", content))


def test_a_missing_file_is_named(tmp_path) -> None:
    with pytest.raises(DatasetError, match="cannot read "):
        locomo.read(tmp_path / "nowhere.json")
