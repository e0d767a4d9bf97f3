"""The pools: rows of the official forms become one bank of passages with their questions."""

import gzip
import json
from pathlib import Path

import pytest

from memalpha_evals.datasets import READERS, DatasetError

DATA = Path(__file__).parents[3] / "shared" / "data"
ROWS = {
    "hotpotqa": {
        "_id": "1",
        "question": "Who wrote Emma?",
        "answer": "Austen",
        "type": "bridge",
        "supporting_facts": [["Emma", 0], ["Emma", 1]],
        "context": [["Emma", ["Emma is a novel.", " Austen wrote it."]], ["Oslo", ["Oslo is a city."]]],
    },
    "musique": {
        "id": "2hop__1_2",
        "question": "Who wrote Emma?",
        "answer": "Austen",
        "paragraphs": [
            {"title": "Emma", "paragraph_text": "Emma is a novel. Austen wrote it.", "is_supporting": True},
            {"title": "Oslo", "paragraph_text": "Oslo is a city.", "is_supporting": False},
        ],
    },
    "nq": {
        "question": "who wrote emma",
        "answers": ["Austen", "Jane Austen"],
        "ctxs": [
            {"title": "Emma", "text": "Emma is a novel. Austen wrote it.", "isgold": True},
            {"title": "Oslo", "text": "Oslo is a city.", "isgold": False},
        ],
    },
}
ROWS["2wiki"] = ROWS["hotpotqa"]


def lines(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("name", ROWS)
def test_each_form_becomes_passages_and_evidence(name, tmp_path) -> None:
    dataset = READERS[name](lines(tmp_path / "f.jsonl", ROWS[name]))
    (pool,) = dataset.conversations
    assert [turn.text for turn in pool.turns] == [
        "Emma\nEmma is a novel. Austen wrote it.",
        "Oslo\nOslo is a city.",
    ]
    (question,) = pool.questions
    assert (question.answer, question.evidence) == ("Austen", {"P1"})
    assert (dataset.unit, dataset.clusters) == ("passage", "questions")


def test_the_category_is_the_type_of_a_question_where_there_is_one(tmp_path) -> None:
    kinds = [READERS[name](lines(tmp_path / name, row)).categories() for name, row in ROWS.items()]
    assert kinds == [["bridge"], ["2hop"], ["question"], ["bridge"]]


def test_questions_share_passages_of_one_title_and_text(tmp_path) -> None:
    other = {**ROWS["hotpotqa"], "question": "Where is Oslo?", "supporting_facts": [["Oslo", 0]]}
    (pool,) = READERS["hotpotqa"](lines(tmp_path / "f", ROWS["hotpotqa"], other)).conversations
    assert len(pool.turns) == 2
    assert [question.evidence for question in pool.questions] == [{"P1"}, {"P2"}]


def test_every_question_of_a_pool_is_a_cluster_of_its_own(tmp_path) -> None:
    dataset = READERS["nq"](lines(tmp_path / "f", ROWS["nq"], ROWS["nq"]))
    pool = dataset.conversations[0]
    assert {dataset.cluster_of(pool, place) for place in range(2)} == {"pool 0", "pool 1"}


def test_an_array_and_gzip_are_read_too(tmp_path) -> None:
    path = tmp_path / "f.json.gz"
    path.write_bytes(gzip.compress(json.dumps([ROWS["2wiki"]]).encode()))
    assert READERS["2wiki"](path).turn_count == 2


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("text", "line 1 must be an object"),
        ({"question": ""}, 'line 1 needs a "question"'),
        ({"question": "Who?"}, "line 1 is not a row of hotpotqa: KeyError('supporting_facts')"),
        ({**ROWS["hotpotqa"], "context": [["Emma", 3]]}, "line 1 is not a row of hotpotqa"),
        ({**ROWS["hotpotqa"], "context": [[3, ["x"]]]}, "title and text of a passage must be strings"),
    ],
)
def test_rows_of_another_form_are_refused_with_their_place(row, complaint, tmp_path) -> None:
    with pytest.raises(DatasetError) as raised:
        READERS["hotpotqa"](lines(tmp_path / "f.jsonl", row))
    assert complaint in str(raised.value)


@pytest.mark.parametrize(
    ("name", "file", "passages", "questions"),
    [
        ("hotpotqa", "hotpotqa/hotpot_dev_distractor.sample.dev.jsonl.gz", 1581, 160),
        ("2wiki", "2wikimultihop/2wiki_dev.sample.dev.jsonl.gz", 1055, 131),
        ("musique", "musique/musique_ans_dev.sample.dev.jsonl.gz", 2493, 160),
        ("nq", "nq/nq-open-oracle.dev.jsonl.gz", 2083, 2124),
    ],
)
def test_the_official_files_are_read_whole(name, file, passages, questions) -> None:
    path = DATA / file
    if not path.exists():
        pytest.skip(f"there is no {name} at {path}")
    dataset = READERS[name](path)
    scored = [question for _, question in dataset.questions() if question.evidence]
    assert (dataset.turn_count, len(scored)) == (passages, questions)
