"""LoCoMo's labels: the audit mends answers and evidence, and adversarial questions have no answer."""

import json
from pathlib import Path

import pytest

from memalpha_evals.datasets import DatasetError, locomo

DATA = Path(__file__).parents[3] / "shared" / "data" / "locomo"
SAMPLE = {
    "sample_id": "conv-30",
    "conversation": {
        "session_1": [
            {"speaker": "Ann", "text": "I painted it last year.", "dia_id": "D1:1"},
            {"speaker": "Bo", "text": "Look at this.", "dia_id": "D1:2"},
        ]
    },
    "qa": [
        {"question": "When?", "answer": 2021, "evidence": ["D1:2"], "category": 2},
        {"question": "Whose cat?", "adversarial_answer": "Bo's", "evidence": ["D1:2"], "category": 5},
        {"question": "Is it Bo's?", "answer": "No", "evidence": [], "category": 5},
    ],
}
RECORD = {
    "question_id": "locomo_1_qa0",
    "question": "When?",
    "correct_answer": "2022",
    "correct_evidence": ["D1:1"],
}


def files(folder, record, sample=SAMPLE):
    data, audit = folder / "locomo10.json", folder / "errors.json"
    data.write_text(json.dumps([sample]))
    audit.write_text(json.dumps([record]))
    return data, audit


def test_a_record_mends_the_question_that_it_names(tmp_path) -> None:
    data, audit = files(tmp_path, RECORD)
    plain, mended = locomo.read(data), locomo.read(data, audit)
    (_, before), (_, after) = next(plain.questions()), next(mended.questions())
    assert (before.answer, before.evidence) == ("2021", {"D1:2"})
    assert (after.answer, after.evidence) == ("2022", {"D1:1"})
    assert plain.sha256 != mended.sha256
    assert plain.caveats != mended.caveats


def test_conversations_are_known_by_their_ids_not_by_their_place(tmp_path) -> None:
    # conv-30 is the second of the official file, though the first of this one
    data, audit = files(tmp_path, RECORD | {"question_id": "locomo_0_qa0"})
    (_, question) = next(locomo.read(data, audit).questions())
    assert question.answer == "2021"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"question": "Why?"}, "asks 'Why\\?', but conv-30 asks 'When\\?'"),
        ({"question_id": "locomo_1_qa7"}, "conv-30 asks None"),
        ({"question_id": "q7"}, "must read like locomo_0_qa4"),
    ],
)
def test_a_record_of_another_question_is_refused(change, message, tmp_path) -> None:
    with pytest.raises(DatasetError, match=message):
        locomo.read(*files(tmp_path, RECORD | change))


def test_an_adversarial_question_is_unanswerable_unless_the_file_answers_it(tmp_path) -> None:
    data, _ = files(tmp_path, RECORD)
    assert [question.unanswerable for _, question in locomo.read(data).questions()] == [False, True, False]
    # the wrong answer that the file names is nobody's right answer
    assert [question.answer for _, question in locomo.read(data).questions()] == ["2021", "", "No"]


@pytest.mark.skipif(not DATA.exists(), reason="LoCoMo is not at hand")
def test_every_record_of_the_real_audit_names_its_question() -> None:
    data, audit = DATA / "locomo10.dev.json.gz", DATA / "locomo_audit_errors.dev.json"
    plain, mended = locomo.read(data), locomo.read(data, audit)
    pairs = zip(plain.questions(), mended.questions(), strict=True)
    changed = sum(before != after for (_, before), (_, after) in pairs)
    records = json.loads(audit.read_text())
    # some records only explain: what they call correct is what the file has
    assert 80 < changed <= len(records) == 95
    questions = [question for _, question in plain.questions()]
    assert sum(question.unanswerable for question in questions) == 270
