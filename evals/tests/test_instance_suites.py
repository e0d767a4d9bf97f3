"""Instances as conversations, and classification by example with nothing told of what is asked."""

import pytest

from memalpha.tasks.data import parquet
from memalpha.tasks.data.readers.labels import Example
from memalpha.tasks.instance import Chunk, Instance, Question
from memalpha_evals.datasets import DatasetError, examples, instances
from memalpha_evals.datasets.draws import Draw
from memalpha_evals.datasets.examples import Labels
from memalpha_evals.streams import stream


def test_a_chunk_of_an_instance_stays_a_chunk_of_its_stream(tmp_path) -> None:
    pytest.importorskip("pyarrow")
    chunks = tuple(Chunk(f"Day {n}. Ann is here.", f"2024-01-0{n}") for n in (1, 2, 3))
    asked = Question("Who?", ("Ann", "A."), "substring", (1,))
    parquet.write(tmp_path / "test.parquet", [Instance("i", "squad", chunks, (asked,))])
    (conversation,) = instances.memalpha(tmp_path / "test.parquet").conversations
    assert [chunk.text for chunk in stream(conversation).chunks] == [chunk.text for chunk in chunks]
    (question,) = conversation.questions
    assert (question.evidence, question.metric, question.aliases) == ({"C1"}, "substring", ("A.",))


def test_a_ledger_is_unanswerable_where_nothing_is_known() -> None:
    dataset = instances.generated(1, Draw(conversations=2))
    assert len(dataset.conversations) == 2
    questions = [question for _, question in dataset.questions()]
    assert {each.unanswerable for each in questions if each.answer == "not known"} == {True}
    assert {each.unanswerable for each in questions if each.answer != "not known"} == {False}
    assert instances.generated(1, Draw(conversations=2, seed=1)) != dataset


@pytest.mark.parametrize("units", [0, 61])
def test_a_ledger_of_no_possible_length_is_refused(units) -> None:
    with pytest.raises(DatasetError, match="from 1 to 60"):
        instances.generated(units)


def labels(path, told, asked):
    path.write_text("")
    return Labels("set", told, asked, (path,), "none")


def many(count, prefix):
    return [Example(f"{prefix} sentence {n}", f"label {n % 4}") for n in range(count)]


def test_what_is_asked_is_never_told_whatever_its_case(tmp_path) -> None:
    told = many(40, "told")
    asked = [*many(20, "asked"), Example("TOLD sentence 3", "label 3")]
    dataset = examples.read(labels(tmp_path / "f", told, asked))
    for conversation in dataset.conversations:
        stories = " ".join(turn.text for turn in conversation.turns).lower()
        for question in conversation.questions:
            sentence = question.text.splitlines()[0].removeprefix("Sentence: ")
            assert sentence.lower() not in stories
    assert len({question.text for _, question in dataset.questions()}) == 20  # not the one that is told


def test_labels_are_numbers_that_only_the_examples_explain(tmp_path) -> None:
    dataset = examples.read(labels(tmp_path / "f", many(40, "told"), many(20, "asked")))
    meanings = []
    for conversation in dataset.conversations:
        by_id = {turn.id: turn.text for turn in conversation.turns}
        for question in conversation.questions:
            # every example of the right label ends with the right number
            assert question.evidence
            assert all(by_id[id_].endswith(f"\nLabel: {question.answer}") for id_ in question.evidence)
        meanings.append(tuple(sorted({(each.category, each.answer) for each in conversation.questions})))
    assert len(set(meanings)) > 1  # dealt anew for each conversation


def test_one_example_of_each_label_is_told_even_where_there_is_room_for_no_more(
    tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(examples, "TOLD_TOKENS", 10)
    dataset = examples.read(labels(tmp_path / "f", many(40, "told"), many(20, "asked")))
    assert {len(each.turns) for each in dataset.conversations} == {4}


def test_a_set_without_a_test_file_keeps_a_fifth_apart_and_says_so(tmp_path) -> None:
    dataset = examples.read(labels(tmp_path / "f", many(200, "told"), []))
    assert dataset.caveats == (examples.ONE_FILE,)
    told = {turn.text.splitlines()[0] for each in dataset.conversations for turn in each.turns}
    asked = {question.text.splitlines()[0] for _, question in dataset.questions()}
    assert asked
    assert not told & asked


def test_a_set_that_leaves_nothing_to_ask_is_refused(tmp_path) -> None:
    told = many(4, "told")
    with pytest.raises(DatasetError, match="leaves no sentence of set"):
        examples.read(labels(tmp_path / "f", told, told))
