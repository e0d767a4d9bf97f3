"""Questions in contexts of a length: which documents are there, in which order, and what is said of them."""

import json
from pathlib import Path

import pytest

from memalpha.tasks.data.readers import passages
from memalpha_evals import suites
from memalpha_evals.datasets import DatasetError, documents
from memalpha_evals.datasets.documents import Beyond
from memalpha_evals.datasets.draws import Draw
from memalpha_evals.datasets.passage_sets import HOTPOTQA, MUSIQUE, NQ, TWOWIKI, Set
from memcore import count_tokens

DATA = Path(__file__).parents[3] / "shared" / "data"


def row(number, answer="Austen"):
    """A question with one passage of its own that supports it and one that does not."""
    return {
        "_id": str(number),
        "question": f"Who wrote book {number}",
        "answer": answer,
        "type": "bridge",
        "supporting_facts": [[f"Book {number}", 0]],
        "context": [[f"Book {number}", [f"{answer} wrote {number}."]], [f"Town {number}", ["A town."]]],
    }


def hotpotqa(path, count):
    path.write_text(json.dumps([row(number) for number in range(count)]))
    return path


def texts(conversation):
    return [turn.text for turn in conversation.turns]


def test_a_context_holds_the_own_passages_and_others_up_to_the_number_of_documents(tmp_path) -> None:
    dataset = documents.read(HOTPOTQA, hotpotqa(tmp_path / "f.json", 20), 8)
    assert len(dataset.conversations) == 20
    for number, conversation in enumerate(dataset.conversations):
        assert len(conversation.turns) == 8
        (question,) = conversation.questions
        (evidence,) = [turn for turn in conversation.turns if turn.id in question.evidence]
        place = conversation.turns.index(evidence) + 1
        assert evidence.text == f"Document {place}:\nBook {number}\nAusten wrote {number}."
        assert any(f"Town {number}\n" in text for text in texts(conversation))
        bodies = [text.partition("\n")[2] for text in texts(conversation)]
        assert len(set(bodies)) == 8
    assert dataset.caveats == HOTPOTQA.caveats
    assert dataset.conversations[19].questions[0].text == "Who wrote book 19?"


def test_the_same_seed_gives_the_same_contexts_and_another_one_others(tmp_path) -> None:
    path = hotpotqa(tmp_path / "f.json", 20)
    first, same, other = (documents.read(HOTPOTQA, path, 8, Draw(seed=seed)) for seed in (1, 1, 2))
    assert first == same
    assert [texts(each) for each in first.conversations] != [texts(each) for each in other.conversations]


def test_a_draw_changes_which_questions_are_asked_but_not_their_contexts(tmp_path) -> None:
    path = hotpotqa(tmp_path / "f.json", 20)
    whole = {each.id: each for each in documents.read(HOTPOTQA, path, 8).conversations}
    some = documents.read(HOTPOTQA, path, 8, Draw(questions=5)).conversations
    assert len(some) == 5
    assert all(whole[each.id] == each for each in some)


def test_supporting_passages_do_not_stand_at_the_same_place_for_all_questions(tmp_path) -> None:
    dataset = documents.read(HOTPOTQA, hotpotqa(tmp_path / "f.json", 20), 8)
    places = {question.evidence for _, question in dataset.questions()}
    assert len(places) > 4  # one permutation for all would give a single place


def test_distractors_come_from_other_sets_where_the_own_ones_do_not_suffice(tmp_path) -> None:
    other = tmp_path / "other.json"
    foreign = row(99) | {"context": [["Foreign", ["Far away."]], ["Book 99", ["x"]]]}
    other.write_text(json.dumps([foreign]))
    beyond = [Beyond(TWOWIKI, other)]
    # two questions have four passages; with one foreign passage of two there are five
    dataset = documents.read(HOTPOTQA, hotpotqa(tmp_path / "f.json", 2), 5, beyond=beyond)
    assert all(any("Foreign" in text for text in texts(each)) for each in dataset.conversations)
    assert "The file has 4 different passages; distractors also come from 2wiki." in dataset.caveats
    enough = documents.read(HOTPOTQA, hotpotqa(tmp_path / "f.json", 2), 4, beyond=beyond)
    assert not any("Foreign" in text for each in enough.conversations for text in texts(each))


def test_another_set_that_cannot_be_read_is_no_fault_of_the_file_that_is_asked(tmp_path, monkeypatch) -> None:
    for folder, name, text in (
        ("triviaqa", "dev.jsonl", '{"id": "dev_0", "question": "Who?", "golden_answers": ["Ann"]}'),
        ("nq", "nq-open-oracle.jsonl", "damaged"),
        ("nq", "nq-open-oracle.dev.jsonl", "and two files that fit"),
    ):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / name).write_text(text)
    (tmp_path / "hotpotqa").mkdir()
    hotpotqa(tmp_path / "hotpotqa" / "hotpot_dev_distractor_v1.json", 2)
    monkeypatch.setenv("MEMALPHA_DATA", str(tmp_path))
    dataset = suites.load("hotpotqa-10k")
    assert {len(each.turns) for each in dataset.conversations} == {4}
    assert not any("distractors also come from" in each for each in dataset.caveats)
    # the control: asked itself it is refused
    with pytest.raises(DatasetError, match=r'dev\.jsonl, line 1: "metadata" must be an object'):
        suites.load("triviaqa-10k")


def test_a_context_that_stays_too_short_is_said_to_be(tmp_path) -> None:
    dataset = documents.read(HOTPOTQA, hotpotqa(tmp_path / "f.json", 2), 50)
    assert {len(each.turns) for each in dataset.conversations} == {4}
    assert "Some contexts hold only 4 of 50 documents: there are no more passages." in dataset.caveats


def nq(path, *answers):
    gold = [{"title": f"T{n}", "text": f"Told by {a}.", "isgold": True} for n, a in enumerate(answers)]
    rows = [
        {"question": f"who {number}?", "answers": [answer], "ctxs": [context]}
        for number, (answer, context) in enumerate(zip(answers, gold, strict=True))
    ]
    path.write_text("".join(json.dumps(each) + "\n" for each in rows))
    return path


def test_a_distractor_of_natural_questions_holds_no_answer_as_a_word(tmp_path) -> None:
    path = nq(tmp_path / "nq.jsonl", "Ann", "ann Lee", "Hannah", "Bo")
    first, *_ = documents.read(NQ, path, 4).conversations
    # "ann Lee" holds the answer Ann as a word, Hannah only within one
    assert sorted(text.partition("\n")[2] for text in texts(first)) == [
        "T0\nTold by Ann.",
        "T2\nTold by Hannah.",
        "T3\nTold by Bo.",
    ]
    unclean = documents.read(Set("nq", passages.nq, ""), path, 4)
    assert len(unclean.conversations[0].turns) == 4


def test_all_answers_of_a_question_are_kept(tmp_path) -> None:
    rows = [{"question": "q", "answers": ["A", "B"], "ctxs": [{"title": "t", "text": "A", "isgold": True}]}]
    (tmp_path / "nq.jsonl").write_text(json.dumps(rows))
    ((_, question),) = documents.read(NQ, tmp_path / "nq.jsonl", 1).questions()
    assert (question.answer, question.aliases) == ("A", ("B",))


def test_a_file_without_answers_is_refused(tmp_path) -> None:
    (tmp_path / "f.json").write_text(json.dumps([row(1, answer="")]))
    with pytest.raises(DatasetError, match=r"f\.json has no question with an answer"):
        documents.read(HOTPOTQA, tmp_path / "f.json", 4)


FLASHRAG = {
    "id": "dev_0",
    "question": "Who wrote Emma",
    "golden_answers": ["Austen", "J. A."],
    "metadata": {
        "type": "bridge",
        "supporting_facts": {"title": ["Emma"], "sent_id": [0]},
        "context": {"title": ["Emma", "Oslo"], "sentences": [["Austen", " wrote it."], ["A city."]]},
    },
}


@pytest.mark.parametrize("column", ["sentences", "content"])
def test_flashrags_form_is_known_by_its_rows(column, tmp_path) -> None:
    context = FLASHRAG["metadata"]["context"]
    told = {"title": context["title"], column: context["sentences"]}
    row = FLASHRAG | {"metadata": FLASHRAG["metadata"] | {"context": told}}
    (tmp_path / "dev.jsonl").write_text(json.dumps(row))
    (conversation,) = documents.read(HOTPOTQA, tmp_path / "dev.jsonl", 2).conversations
    (question,) = conversation.questions
    (evidence,) = [turn for turn in conversation.turns if turn.id in question.evidence]
    assert evidence.text.endswith("Emma\nAusten wrote it.")
    assert (question.answer, question.aliases, question.category) == ("Austen", ("J. A.",), "bridge")
    assert question.text == "Who wrote Emma?"


def test_a_question_of_flashrag_without_its_supporting_passages_is_left_out_and_its_passages_are_not(
    tmp_path,
) -> None:
    context = {"title": ["Rome", "Bonn"], "sentences": [["A city."], ["A town."]]}
    lost = FLASHRAG | {"question": "Lost?", "metadata": FLASHRAG["metadata"] | {"context": context}}
    (tmp_path / "dev.jsonl").write_text(f"{json.dumps(FLASHRAG)}\n{json.dumps(lost)}")
    (conversation,) = documents.read(HOTPOTQA, tmp_path / "dev.jsonl", 4).conversations
    assert [each.text for each in conversation.questions] == ["Who wrote Emma?"]
    assert {title for title in ("Emma", "Oslo", "Rome", "Bonn") if title in str(conversation.turns)} == {
        *("Emma", "Oslo", "Rome", "Bonn")
    }


def test_a_row_of_flashrag_without_passages_is_refused(tmp_path) -> None:
    (tmp_path / "dev.jsonl").write_text(json.dumps(FLASHRAG | {"metadata": {}}))
    with pytest.raises(DatasetError, match='line 1, metadata: "context" must be an object'):
        documents.read(NQ, tmp_path / "dev.jsonl", 2)


@pytest.mark.parametrize(
    ("which", "file", "low", "high"),
    [
        (HOTPOTQA, "hotpotqa/hotpot_dev_distractor.sample.dev.jsonl.gz", 22_000, 36_000),
        (MUSIQUE, "musique/musique_ans_dev.sample.dev.jsonl.gz", 20_000, 36_000),
    ],
)
def test_two_hundred_real_documents_are_about_thirty_thousand_tokens(which, file, low, high) -> None:
    if not (DATA / file).exists():
        pytest.skip("the data set is not at hand")
    dataset = documents.read(which, DATA / file, 200, Draw(questions=4))
    for conversation in dataset.conversations:
        assert low < count_tokens("\n\n".join(texts(conversation))) < high
        assert conversation.questions[0].evidence
