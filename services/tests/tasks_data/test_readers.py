"""Readers of official forms: what a row becomes, and which files are refused with their place."""

import gzip
import io
import json
import sys

import pytest

from memalpha.tasks.data import DatasetError
from memalpha.tasks.data.readers import beam, labels, longmemeval, passages, perltqa, stories
from memalpha.tasks.data.readers import files as reading
from memalpha.tasks.data.readers.files import read_rows

from .support import document, history, lines, multihop, session, squad


def test_an_array_is_read_row_by_row_however_it_is_spaced(tmp_path) -> None:
    # one element is longer than the block that is read at once
    rows = [{"a": "x" * 3_000_000}, {"b": [1, {"c": "]"}]}, {}]
    path = tmp_path / "rows.json"
    for text in (json.dumps(rows), json.dumps(rows, indent=3), "\n\n" + json.dumps(rows) + "\n"):
        path.write_text(text)
        assert [row for _, row in read_rows(path)] == rows
    path.write_bytes(gzip.compress(json.dumps(rows).encode()))
    assert [where for where, _ in read_rows(path)] == [f"rows.json, row {n}" for n in (1, 2, 3)]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('[{"a": 1} {"b": 2}]', "a comma is missing before row 2"),
        ('[{"a": 1},]', "row 2 is not JSON"),
        ('[{"a": 1}', "row 2 is not JSON"),
        ('[{"a": 1}] x', "is not JSON"),
        ("[1]", "row 1 must be an object, not a number"),
        ('{"a": 1}\n\n{"b": ', "line 3 is not JSON"),
        ("[]", "is empty"),
        (" \n", "is empty"),
        ('{"a": "\udcff"}', "is not UTF-8"),
    ],
)
def test_a_broken_file_is_refused_with_its_place(tmp_path, text, complaint) -> None:
    path = tmp_path / "rows.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(DatasetError) as raised:
        list(read_rows(path))
    assert complaint in str(raised.value)
    assert "rows.json" in str(raised.value)


class Counting(io.StringIO):
    """A file that knows how much of it was asked for at once, and how much has been read."""

    most = 0

    def read(self, size: int | None = -1) -> str:
        self.most = max(self.most, size if size and size >= 0 else sys.maxsize)
        return super().read(size)

    def readline(self, size: int = -1) -> str:  # pyright: ignore[reportIncompatibleMethodOverride]
        self.most = sys.maxsize
        return super().readline(size)


def test_an_array_on_one_line_is_read_in_blocks_and_each_character_is_copied_once_or_twice(
    monkeypatch,
) -> None:
    rows = [{"n": n, "text": "x" * 90} for n in range(400)]
    file = Counting(json.dumps(rows))
    monkeypatch.setattr(reading, "_BLOCK", 1000)
    values = reading._values(file, "rows.json")  # pyright: ignore[reportArgumentType]
    assert next(values) == ("rows.json, row 1", rows[0])
    assert (file.tell() < 1100, file.most) == (True, 1000)
    assert [value for _, value in values] == rows[1:]
    assert file.most == 1000


def test_an_error_deep_in_a_one_line_array_names_its_row(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(reading, "_BLOCK", 100)
    path = tmp_path / "rows.json"
    good = json.dumps([{"n": n} for n in range(500)])[:-1]
    for rest, complaint in (
        (", {]", "row 501 is not JSON"),
        (' {"n": 1}]', "a comma is missing before row 501"),
        ("] {}", "there is more after the end"),
        (f", {'[' * 100_000}", "row 501 is not JSON: it is nested too deeply"),
    ):
        path.write_text(good + rest)
        with pytest.raises(DatasetError, match=complaint) as raised:
            list(read_rows(path))
        assert "rows.json" in str(raised.value)


def test_damaged_gzip_and_a_missing_file_are_named(tmp_path) -> None:
    path = tmp_path / "rows.json.gz"
    path.write_bytes(gzip.compress(b'[{"a": 1}]' * 1000)[:-20])
    with pytest.raises(DatasetError, match=r"rows\.json\.gz"):
        list(read_rows(path))
    with pytest.raises(DatasetError, match="cannot read"):
        list(read_rows(tmp_path / "none"))


def test_squad_questions_keep_every_answer_and_drop_the_impossible(tmp_path) -> None:
    value = squad(1)
    value["data"][0]["paragraphs"][0]["qas"] += [
        {"question": "Why?", "answers": [], "is_impossible": True},
        {"question": "Where?", "answers": [{"text": "sea"}, {"text": "the sea"}, {"text": "sea"}]},
    ]
    first, second = passages.squad(document(tmp_path / "f.json", value))
    assert first.passages[0].text.startswith("Two Rivers\nThe river number 0")
    assert second.answers == ("sea", "the sea")


def test_musique_accepts_aliases(tmp_path) -> None:
    row = {
        "id": "2hop__1_2",
        "question": "Who?",
        "answer": "Austen",
        "answer_aliases": ["Jane Austen"],
        "paragraphs": [{"title": "A", "paragraph_text": "b", "is_supporting": True}],
    }
    (question,) = passages.musique(lines(tmp_path / "f", row))
    assert (question.answers, question.kind) == (("Austen", "Jane Austen"), "2hop")
    assert list(question.lines()) == ["Who?", "A", "b"]


def test_only_supporting_passages_count_as_said(tmp_path) -> None:
    (question,) = passages.hotpotqa(lines(tmp_path / "f", multihop(1)))
    assert "Oslo" not in list(question.lines())


def test_trec_lines_are_latin_1_with_two_labels(tmp_path) -> None:
    path = tmp_path / "train.label"
    path.write_bytes("DESC:manner How did caf\xe9s start ?\n".encode("latin-1"))
    assert list(labels.trec_fine(path)) == [labels.Example("How did cafés start ?", "DESC:manner")]
    assert [example.label for example in labels.trec_coarse(path)] == ["DESC"]
    path.write_text("DESC no colon\n")
    with pytest.raises(DatasetError, match="line 1 must read COARSE:fine"):
        list(labels.trec_fine(path))


def test_pairs_are_read_with_and_without_a_header(tmp_path) -> None:
    path = tmp_path / "f.csv"
    path.write_text('text,category\n"Where, is it?",card\n')
    assert list(labels.pairs(path)) == [labels.Example("Where, is it?", "card")]
    path.write_text("wake me up,alarm\nonly one\n")
    with pytest.raises(DatasetError, match="line 2 must be a sentence and its label"):
        list(labels.pairs(path))


def test_clinc_parts_rasa_and_abstracts_give_the_same_kind_of_example(tmp_path) -> None:
    clinc = document(tmp_path / "c.json", {"train": [["hi", "greet"]], "val": [["yo", "greet"]]})
    assert [example.text for example in labels.clinc150(clinc, ("val",))] == ["yo"]
    rasa = {"rasa_nlu_data": {"common_examples": [{"text": "hi", "intent": "greet"}]}}
    assert list(labels.rasa(document(tmp_path / "r.json", rasa))) == [labels.Example("hi", "greet")]
    abstract = lines(tmp_path / "a.jsonl", {"sentences": ["We test."], "labels": ["method"]})
    assert list(labels.csabstruct(abstract)) == [labels.Example("We test.", "method")]
    uneven = lines(tmp_path / "b.jsonl", {"sentences": ["We test."], "labels": []})
    with pytest.raises(DatasetError, match="line 1 has 1 sentences but 0 labels"):
        list(labels.csabstruct(uneven))


def test_a_story_has_paragraphs_and_references(tmp_path) -> None:
    row = {
        "document": "One\nline.\n\n\nTwo.",
        "questions": [
            {"question_text": "Plot?", "question_number": 1, "responses": [{"response_text": "A."}]}
        ],
    }
    (story,) = stories.squality(lines(tmp_path / "f", row))
    assert list(story.paragraphs()) == ["One line.", "Two."]
    assert story.questions == (stories.StoryQuestion("Plot?", ("A.",), True),)


def test_beam_finds_gold_answers_under_the_name_of_each_kind(tmp_path) -> None:
    document(tmp_path / "1.chat.json", [{"turns": [[{"id": 0, "role": "user", "content": "a ->-> 1,1"}]]}])
    probes = {
        "abstention": [{"question": "A?", "ideal_response": "unknown"}],
        "summarization": [{"question": "S?", "ideal_summary": "all"}],
        "temporal_reasoning": [{"question": "T?", "answer": 3, "source_chat_ids": {"x": [0]}}],
    }
    document(tmp_path / "1.probing_questions.json", probes)
    chat = beam.read(beam.find(tmp_path)[0])
    assert [(probe.answer, probe.cited) for probe in chat.probes] == [
        ("unknown", ()),
        ("all", ()),
        ("3", ("0",)),
    ]
    assert chat.messages == (beam.Message("0", "user", "a ", ""),)


def test_longmemeval_dates_become_iso_and_answers_text(tmp_path) -> None:
    row = history(session("a", "My dog is Biscuit."), evidence=("a",), answer=3)
    (found,) = longmemeval.read(lines(tmp_path / "f", row))
    assert (found.answer, found.time, found.sessions[0].time) == ("3", "2023-06-01T10:00", "2023-05-01T09:30")
    with pytest.raises(DatasetError, match="a date must read like"):
        list(longmemeval.read(lines(tmp_path / "f", {**row, "haystack_dates": ["soon"]})))
    with pytest.raises(DatasetError, match="as many haystack dates"):
        list(longmemeval.read(lines(tmp_path / "f", {**row, "haystack_dates": []})))


def test_perltqa_joins_dialogues_to_their_event_and_leaves_the_profile(tmp_path) -> None:
    memory = [
        {
            "profile": {"Protagonist": "Lin"},
            "events": {
                "4_0_0": {"summary": "Trip.", "content": "Lin went to Rome.", "Creation Time": "2022-01-05"},
                "4_0_1": {"summary": "Job.", "content": "Lin became a cook."},
            },
            "dialogues": {"4_0_0#0": {"contents": {"2022-01-06": ["Lin: Rome was hot.", ["AI: Oh."]]}}},
        }
    ]
    asked = {
        "profile": [{"Question": "Name?", "Answer": "Lin"}],
        "dialogues": [{"4_0_0#0": [{"Question": "How was Rome?", "Answer": "hot"}]}],
    }
    (character,) = perltqa.read(
        document(tmp_path / "m.json", memory), document(tmp_path / "q.json", [{"Lin": asked}])
    )
    assert [event.text for event in character.events] == [
        "Trip.\nLin went to Rome.\n[2022-01-06]\nLin: Rome was hot.\nAI: Oh.",
        "Job.\nLin became a cook.",
    ]
    assert [question.key for question in character.questions] == ["4_0_0#0"]
