"""PersonaMem: both forms become contexts with choices, and a question sees only what came before it."""

import csv
import gzip
import json
from pathlib import Path

import pytest

from memalpha_evals.datasets import DatasetError, Turn, personamem, personamem_sessions
from memalpha_evals.datasets.draws import Draw
from memalpha_evals.streams import stream

DATA = Path(__file__).parents[3] / "shared" / "data" / "personamem"
CONTEXT = [
    {"role": "system", "content": "Current user persona: Ann likes tea."},
    {"role": "user", "content": "User: I tried matcha."},
    {"role": "assistant", "content": "Assistant: Nice."},
    {"role": "user", "content": "User: Now I prefer coffee."},
]
OPTIONS = ["(a) Tea it is.", "(b) Coffee it is, as you're fond of it."]
ROW = {
    "persona_id": "0",
    "question_id": "q1",
    "question_type": "recall_user_shared_facts",
    "topic": "drinks",
    "user_question_or_message": "What should I drink?",
    "correct_answer": "(a)",
    "all_options": repr(OPTIONS),
    "shared_context_id": "c1",
    "end_index_in_shared_context": "3",
}


def official(folder, *rows, contexts=({"c1": CONTEXT},)):
    questions = folder / "questions_32k.csv"
    with questions.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    shared = folder / "shared_contexts_32k.jsonl"
    shared.write_text("".join(json.dumps(each) + "\n" for each in contexts))
    return questions, shared


def test_a_question_sees_the_turns_before_its_end_index(tmp_path) -> None:
    later = ROW | {"question_id": "q2", "end_index_in_shared_context": "4", "correct_answer": "(b)"}
    dataset = personamem.read(*official(tmp_path, ROW, later))
    (conversation,) = dataset.conversations
    assert conversation.turns[1] == Turn("2", "User: I tried matcha.", "", "User")
    first, second = stream(conversation).questions
    assert (first.question.until, first.question.answer, second.question.answer) == (3, "a", "b")
    # the fourth turn is in a chunk of its own: the first question must not know of it
    chunks = stream(conversation).chunks
    assert "coffee" not in "".join(chunk.text for chunk in chunks[: first.after])
    assert "coffee" in "".join(chunk.text for chunk in chunks[: second.after])


def test_an_end_index_beyond_the_context_is_its_end_as_for_the_official_loader(tmp_path) -> None:
    beyond = ROW | {"end_index_in_shared_context": "9"}
    ((conversation, question),) = personamem.read(*official(tmp_path, beyond)).questions()
    assert question.until == len(conversation.turns) == 4


def test_turns_behind_the_last_question_are_not_kept(tmp_path) -> None:
    (conversation,) = personamem.read(*official(tmp_path, ROW)).conversations
    assert len(conversation.turns) == 3


def test_options_lose_their_letters_and_the_answer_is_one_of_them(tmp_path) -> None:
    dataset = personamem.read(*official(tmp_path, ROW))
    ((_, question),) = dataset.questions()
    assert question.options == ("Tea it is.", "Coffee it is, as you're fond of it.")
    assert (question.id, question.category) == ("q1", "recall_user_shared_facts")


def test_the_early_name_of_the_question_column_is_read_too(tmp_path) -> None:
    row = {key: value for key, value in ROW.items() if key != "user_question_or_message"}
    dataset = personamem.read(*official(tmp_path, row | {"question": "Tea?"}))
    assert [question.text for _, question in dataset.questions()] == ["Tea?"]


def test_only_contexts_that_a_drawn_question_needs_are_kept(tmp_path) -> None:
    other = ROW | {"question_id": "q2", "shared_context_id": "c2"}
    # the context that nobody asks about is not even of the form
    contexts = ({"c0": "not a context"}, {"c2": CONTEXT}, {"c1": CONTEXT})
    files = official(tmp_path, ROW, other, contexts=contexts)
    assert [each.id for each in personamem.read(*files, Draw(conversations=1)).conversations] == ["c1"]
    assert [each.id for each in personamem.read(*files).conversations] == ["c1", "c2"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"end_index_in_shared_context": "x"}, "line 2: end_index_in_shared_context must be a number"),
        ({"end_index_in_shared_context": "0"}, "must be a number of turns of its context, from 1"),
        ({"correct_answer": "(c)"}, "letter of an option, not '\\(c\\)'"),
        ({"all_options": "open('x')"}, "must be a list as Python writes it"),
        ({"all_options": "['(b) x', '(a) y']"}, "must begin with \\(a\\), \\(b\\)"),
        ({"shared_context_id": "c9"}, "has no context 'c9'"),
        ({"question_type": " "}, 'line 2 needs a "question_type"'),
    ],
)
def test_a_row_that_is_not_of_the_form_is_named_with_its_rule(change, message, tmp_path) -> None:
    with pytest.raises(DatasetError, match=message):
        personamem.read(*official(tmp_path, ROW | change))


def sessions(folder, *, gold):
    query = {
        "id": "q1",
        "query": "User: Ann\n\nWhat should I drink?\n\n(a) Tea.\n(b) Coffee,\nblack.",
        "gold_answers": ["(b) Coffee,\nblack.", "b"],
        "gold_ids": gold,
        "user_id": "c1",
        "meta": {"question_type": "recall"},
    }
    documents = [
        {"id": "c1_0", "user_id": "c1", "content": "[SYSTEM] Ann.\n\n[USER] User: Tea.\n\nReally."},
        {"id": "c1_1", "user_id": "c1", "content": "[SYSTEM] Ann.\n\n[USER] User: Coffee now."},
    ]
    queries, texts = folder / "queries_32k.json", folder / "documents_32k.json"
    queries.write_text(json.dumps([query]))
    texts.write_text(json.dumps(documents))
    return queries, texts


def test_sessions_are_cut_into_turns_and_hidden_unless_they_are_named(tmp_path) -> None:
    dataset = personamem_sessions.read(*sessions(tmp_path, gold=["c1_0"]))
    (conversation,) = dataset.conversations
    assert [turn.text for turn in conversation.turns] == [
        "Ann.",
        "User: Tea.\n\nReally.",
        "Ann.",
        "User: Coffee now.",
    ]
    (question,) = conversation.questions
    assert (question.until, question.answer) == (2, "b")
    assert question.text == "User: Ann\n\nWhat should I drink?"
    assert question.options == ("Tea.", "Coffee,\nblack.")


def test_sessions_that_are_not_the_first_ones_are_refused(tmp_path) -> None:
    with pytest.raises(DatasetError, match="gold_ids must be the first sessions"):
        personamem_sessions.read(*sessions(tmp_path, gold=["c1_1"]))


def test_a_session_that_begins_without_a_role_is_refused(tmp_path) -> None:
    queries, documents = sessions(tmp_path, gold=["c1_0"])
    rows = json.loads(documents.read_text())
    documents.write_text(json.dumps([rows[0] | {"content": "Lost.\n\n[USER] Hi."}, rows[1]]))
    with pytest.raises(DatasetError, match="session c1_0 must begin"):
        personamem_sessions.read(queries, documents)


@pytest.mark.skipif(not DATA.exists(), reason="PersonaMem is not at hand")
def test_the_real_files_are_read_whole() -> None:
    queries, documents = DATA / "queries_32k.dev.json.gz", DATA / "documents_32k.dev.json.gz"
    dataset = personamem_sessions.read(queries, documents)
    questions = [question for _, question in dataset.questions()]
    assert (len(dataset.conversations), len(questions)) == (30, 491)
    assert {len(question.options) for question in questions} == {4}
    letters = [question.answer for question in questions]
    assert [letters.count(letter) for letter in "abcd"] == [119, 124, 135, 113]
    # the right option reads as the file's own right answer
    rows = {row["id"]: row for row in json.loads(gzip.decompress(queries.read_bytes()))}
    for question in questions:
        right = question.options["abcd".index(question.answer)]
        assert rows[question.id]["gold_answers"][0].endswith(right)
