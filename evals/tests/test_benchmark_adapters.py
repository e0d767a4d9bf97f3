"""RULER-QA, BABILong, PerLTQA and MemoryAgentBench: official rows become turns and questions."""

import json

import pytest

from memalpha_evals.datasets import DatasetError, Turn, babilong, memoryagentbench, perltqa, ruler
from memalpha_evals.datasets.draws import Draw

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

CONTEXT = "Document 1:\nEmma\nAusten wrote it.\n\nDocument 2:\nOslo\nA city.\nDocument it."
TASK = "Answer the question based on the given documents. Only give me the answer."


def lines(path, *rows):
    path.write_text("".join(json.dumps(each) + "\n" for each in rows))
    return path


def table(path, *rows):
    parquet.write_table(pyarrow.Table.from_pylist(list(rows)), path)
    return path


def test_memagents_form_of_ruler_has_a_turn_for_each_document(tmp_path) -> None:
    row = {"input": "Who wrote Emma?", "context": CONTEXT, "answers": ["Austen", "J. A."], "index": 7}
    path = tmp_path / "eval_50.json"
    path.write_text(json.dumps([row]))
    (conversation,) = ruler.read(path).conversations
    assert [turn.text for turn in conversation.turns] == [
        "Document 1:\nEmma\nAusten wrote it.",
        "Document 2:\nOslo\nA city.\nDocument it.",
    ]
    (question,) = conversation.questions
    assert (question.text, question.answer, question.aliases) == ("Who wrote Emma?", "Austen", ("J. A.",))


@pytest.mark.parametrize("behind", ["", f"\n\n{TASK}"])
def test_rulers_own_form_is_cut_into_documents_and_question(behind, tmp_path) -> None:
    before = f"{TASK}\n\nThe following are given documents.\n\n"
    text = f"{before}{CONTEXT}{behind}\n\nQuestion: Who wrote Emma?\n Answer:"
    dataset = ruler.read(lines(tmp_path / "f.jsonl", {"index": 0, "input": text, "outputs": ["Austen"]}))
    (conversation,) = dataset.conversations
    assert conversation.turns[-1].text == "Document 2:\nOslo\nA city.\nDocument it."
    assert conversation.questions[0].text == "Who wrote Emma?"


def test_rulers_own_form_in_one_line_is_cut_too(tmp_path) -> None:
    text = f"{TASK} The following are given documents. {CONTEXT} {TASK} Question: Who wrote Emma?"
    flat = " ".join(text.split())
    dataset = ruler.read(lines(tmp_path / "f.jsonl", {"index": 0, "input": flat, "outputs": ["Austen"]}))
    (conversation,) = dataset.conversations
    assert [turn.text for turn in conversation.turns] == [
        "Document 1: Emma Austen wrote it.",
        "Document 2: Oslo A city. Document it.",
    ]
    assert conversation.questions[0].text == "Who wrote Emma?"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"input": "q", "context": "no headings", "answers": ["a"]}, "headings such as Document 1:"),
        ({"input": "q", "context": CONTEXT, "answers": []}, "line 1 has no answer"),
        ({"input": CONTEXT, "outputs": ["a"]}, 'must end with "Question:"'),
    ],
)
def test_a_row_of_ruler_that_is_not_of_the_form_is_named(row, message, tmp_path) -> None:
    with pytest.raises(DatasetError, match=message):
        ruler.read(lines(tmp_path / "f.jsonl", row))


def test_a_text_of_babilong_is_cut_into_pieces_that_add_up_to_it(tmp_path) -> None:
    text = "Mary went to the kitchen. " + "The whale swam on through the night. " * 200
    folder = tmp_path / "qa1"
    folder.mkdir()
    path = folder / "4k.json"
    path.write_text(json.dumps([{"input": text, "question": "Where is Mary?", "target": "kitchen"}]))
    (conversation,) = babilong.read([path]).conversations
    assert len(conversation.turns) > 3
    assert "".join(turn.text for turn in conversation.turns) == text
    assert (conversation.id, conversation.questions[0].category) == ("qa1-4k-0", "qa1")


def test_babilongs_parquet_is_the_same(tmp_path) -> None:
    row = {"input": "Mary went home.", "question": "Where is Mary?", "target": "home"}
    path = table(tmp_path / "qa2-00000-of-00001.parquet", row, row)
    dataset = babilong.read([path], Draw(conversations=1))
    assert [(each.id, each.questions[0].category) for each in dataset.conversations] == [
        ("qa2-qa2-00000-of-00001-0", "qa2")
    ]


MEMORY = [
    {
        "profile": {"Protagonist": "Xiao"},
        "events": {
            "4_0_0": {"summary": "A trip.", "content": "Xiao went to Xi'an.", "Creation Time": "May 2020"},
            "4_1_0": {"summary": "A job.", "content": "Xiao began to teach."},
        },
        "dialogues": {"4_0_0#0": {"contents": {"2020-05-02": ["Xiao: It was hot."]}}},
    }
]
ASKED = [
    {
        "Xiao": {
            "profile": [{"Question": "Name?", "Answer": "Xiao"}],
            "social_relationship": [{"4_0": [{"Question": "With whom?", "Answer": "Li"}]}],
            "dialogues": [{"4_0_0#0": [{"Question": "Weather?", "Answer": "hot"}]}],
            "events": [{"9_9": [{"Question": "Lost?", "Answer": "x"}]}],
        }
    }
]


def test_a_character_of_perltqa_is_told_event_by_event(tmp_path) -> None:
    memory, asked = tmp_path / "perltmem.json", tmp_path / "perltqa.json"
    memory.write_text(json.dumps(MEMORY))
    asked.write_text(json.dumps(ASKED))
    (conversation,) = perltqa.read(memory, asked).conversations
    assert [turn.id for turn in conversation.turns] == ["4_0_0", "4_1_0"]
    assert conversation.turns[0].text.startswith("[May 2020]\nA trip.")
    assert "Xiao: It was hot." in conversation.turns[0].text
    found = {each.text: (each.evidence, each.bad_evidence) for each in conversation.questions}
    assert found == {
        "With whom?": ({"4_0_0"}, ()),
        "Weather?": ({"4_0_0"}, ()),
        "Lost?": (frozenset(), ("9_9",)),
    }


def test_an_event_of_perltqa_under_other_names_is_refused_and_not_left_empty(tmp_path) -> None:
    memory, asked = tmp_path / "perltmem.json", tmp_path / "perltqa.json"
    memory.write_text(json.dumps([MEMORY[0] | {"events": {"4_0_0": {"Content": "Xiao went."}}}]))
    asked.write_text(json.dumps(ASKED))
    with pytest.raises(DatasetError, match='event 4_0_0 needs a "summary" or a "content"'):
        perltqa.read(memory, asked)


def bench(source, context, answers, **metadata):
    return {
        "context": context,
        "questions": [f"q{number}" for number in range(len(answers))],
        "answers": answers,
        "metadata": {"source": source, "question_types": None, **metadata},
    }


def read_bench(tmp_path, *rows, name="Test_Time_Learning-00000-of-00001.parquet"):
    return memoryagentbench.read([table(tmp_path / name, *rows)])


LABELLED = ["wake me\nlabel: 3", "play\nlabel: 4"]
DOCUMENTS = ["Document 1:\nEmma\nAusten wrote it.", "Document 2:\nOslo\nA city.\nDocument it."]


@pytest.mark.parametrize(
    ("source", "context", "turns", "metric"),
    [
        ("icl_nlu_8296shot_balance", "\n\n".join(LABELLED), LABELLED, "exact_match"),
        ("factconsolidation_sh_6k", "0. A is B.\n1. A is C.", ["0. A is B.", "1. A is C."], "substring"),
        ("ruler_qa1_197K", CONTEXT, DOCUMENTS, "substring"),
        ("infbench_sum_eng_shots2", "One book.", ["One book."], "judge"),
    ],
)
def test_a_source_of_memoryagentbench_says_how_its_context_is_cut(
    source, context, turns, metric, tmp_path
) -> None:
    dataset = read_bench(tmp_path, bench(source, context, [["3"], ["4", "four"]]))
    (conversation,) = dataset.conversations
    assert [turn.text for turn in conversation.turns] == turns
    assert [(each.answer, each.aliases, each.metric) for each in conversation.questions] == [
        ("3", (), metric),
        ("4", ("four",), metric),
    ]
    assert conversation.id == f"Test_Time_Learning-0-{source}"


def test_dated_sessions_of_memoryagentbench_are_parsed_not_run(tmp_path) -> None:
    said = [{"role": "user", "content": "I bought a kayak."}]
    context = repr(["Chat Time: 2023/05/20 (Sat) 02:21", said])
    more = {
        "question_types": ["multi-session"],
        "question_ids": ["x_abs"],
        "question_dates": ["2023/06/01 (Thu) 10:00"],
    }
    (conversation,) = read_bench(tmp_path, bench("longmemeval_s*", context, [["No"]], **more)).conversations
    assert conversation.turns == (Turn("1:0", "I bought a kayak.", "2023-05-20T02:21", "user"),)
    (question,) = conversation.questions
    assert question.category == "longmemeval_s*, multi-session"
    assert (question.time, question.unanswerable) == ("2023-06-01T10:00", True)
    with pytest.raises(DatasetError, match="must be a list of times and sessions"):
        read_bench(tmp_path, bench("longmemeval_s*", "open('/tmp/x', 'w')", [["No"]]))


def test_recommendations_are_left_out_and_an_unknown_source_is_refused(tmp_path) -> None:
    dataset = read_bench(
        tmp_path, bench("recsys_redial_full", "c", [["a"]]), bench("icl_trec", "a\nlabel: 1", [["1"]])
    )
    assert [each.id for each in dataset.conversations] == ["Test_Time_Learning-1-icl_trec"]
    with pytest.raises(DatasetError, match="row 1: source must be like"):
        read_bench(tmp_path, bench("other", "c", [["a"]]))


@pytest.mark.parametrize(
    ("questions", "answers"),
    [
        (["q0"], ["3", "three"]),
        (["q0"], [["3", "three"]]),
        (["q0"], [[["3"], ["three"]]]),
        ("q0", ["3", "three"]),
    ],
)
def test_all_answers_of_a_row_with_one_question_are_accepted(questions, answers, tmp_path) -> None:
    row = bench("detective_qa", "One book.", [["3"]]) | {"questions": questions, "answers": answers}
    ((_, question),) = read_bench(tmp_path, row).questions()
    assert (question.text, question.answer, question.aliases) == ("q0", "3", ("three",))


def test_questions_without_their_answers_are_refused(tmp_path) -> None:
    row = bench("icl_trec", "a\nlabel: 1", [["1"]]) | {"questions": ["q0", "q1"]}
    with pytest.raises(DatasetError, match="has 2 questions but 1 lists of answers"):
        read_bench(tmp_path, row)
