"""LongMemEval: a history a question, with the evidence by turn where the file marks it."""

import json
from pathlib import Path

import pytest

from memalpha_evals.datasets import DatasetError, Turn, longmemeval
from memalpha_evals.datasets.draws import Draw

SAMPLE = Path(__file__).parents[3] / "shared" / "data" / "longmemeval" / "longmemeval_s.sample.dev.json.gz"


def row(**change):
    return {
        "question_id": "q1",
        "question_type": "single-session-user",
        "question": "What did I buy?",
        "answer": "A kayak",
        "question_date": "2023/05/30 (Tue) 23:40",
        "haystack_session_ids": ["s1", "s2"],
        "haystack_dates": ["2023/05/20 (Sat) 02:21", "2023/05/21 (Sun) 10:00"],
        "haystack_sessions": [
            [{"role": "user", "content": "Hello."}],
            [
                {"role": "user", "content": "I bought a kayak.", "has_answer": True},
                {"role": "assistant", "content": "Great."},
            ],
        ],
        "answer_session_ids": ["s2"],
        **change,
    }


def read(path, *rows, draw=None):
    path.write_text(json.dumps(list(rows)))
    return longmemeval.read(path, draw or Draw())


def test_turns_have_their_session_time_and_the_marked_ones_are_evidence(tmp_path) -> None:
    (conversation,) = read(tmp_path / "s.json", row()).conversations
    assert conversation.turns[1] == Turn("1:0", "I bought a kayak.", "2023-05-21T10:00", "user")
    (question,) = conversation.questions
    assert question.evidence == {"1:0"}
    assert (question.time, question.unanswerable) == ("2023-05-30T23:40", False)


def test_without_marks_all_turns_of_the_named_sessions_are_evidence(tmp_path) -> None:
    sessions = [[{"role": "user", "content": "a"}], [{"role": "user", "content": "b"}] * 2]
    (conversation,) = read(tmp_path / "s.json", row(haystack_sessions=sessions)).conversations
    assert conversation.questions[0].evidence == {"1:0", "1:1"}


def test_a_named_session_that_is_not_there_is_bad_evidence(tmp_path) -> None:
    ((_, question),) = read(tmp_path / "s.json", row(answer_session_ids=["s2", "s9"])).questions()
    assert question.bad_evidence == ("s9",)


def test_an_id_that_ends_in_abs_is_of_a_question_without_an_answer(tmp_path) -> None:
    ((_, question),) = read(tmp_path / "s.json", row(question_id="q1_abs", answer_session_ids=[])).questions()
    assert question.unanswerable


def test_rows_behind_the_drawn_ones_are_never_looked_at(tmp_path) -> None:
    broken = {"question": 1}
    dataset = read(tmp_path / "s.json", row(), broken, draw=Draw(conversations=1))
    assert [each.id for each in dataset.conversations] == ["q1"]
    with pytest.raises(DatasetError, match="row 2"):
        read(tmp_path / "s.json", row(), broken)


def test_a_question_that_comes_twice_is_refused(tmp_path) -> None:
    with pytest.raises(DatasetError, match="'q1' comes twice"):
        read(tmp_path / "s.json", row(), row())


@pytest.mark.skipif(not SAMPLE.exists(), reason="LongMemEval is not at hand")
def test_the_real_sample_is_read_whole() -> None:
    dataset = longmemeval.read(SAMPLE)
    assert len(dataset.conversations) == 3
    assert all(question.evidence and not question.bad_evidence for _, question in dataset.questions())
