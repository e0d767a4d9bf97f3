"""Files of instances: JSON lines and the official parquet form, there and back."""

import gzip
import json
import os
import sys

import pytest

from memalpha.tasks.data import DatasetError, files, parquet
from memalpha.tasks.data.summary import summarize
from memalpha.tasks.instance import Chunk, Instance, Question
from memcore import count_tokens

from .support import instance, lines

pyarrow = pytest.importorskip("pyarrow", reason="needs the extra memalpha[data]")

RICH = Instance(
    "rich",
    "beam",
    (Chunk("Ada lives in Oslo. ✿", "2024-01-01T09:30"), Chunk("She moved.")),
    (
        Question("Where?", ("Oslo", "in Oslo"), "substring", (0,), "place", "2024-01-05"),
        Question("Why?", ("work",), "judge"),
    ),
)


@pytest.mark.parametrize("name", ["f.jsonl", "f.jsonl.gz", "f.parquet"])
def test_what_is_written_is_read_again(name, tmp_path) -> None:
    wanted = [instance(name=f"n{number}") for number in range(40)] + [RICH]
    assert files.write(tmp_path / name, iter(wanted)) == 41
    assert list(files.read(tmp_path / name)) == wanted
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_the_same_instances_are_the_same_bytes(tmp_path) -> None:
    for name in ("a.jsonl.gz", "b.jsonl.gz"):
        files.write(tmp_path / name, [RICH])
    assert (tmp_path / "a.jsonl.gz").read_bytes() == (tmp_path / "b.jsonl.gz").read_bytes()
    assert json.loads(gzip.decompress((tmp_path / "a.jsonl.gz").read_bytes())) == RICH.to_dict()


def test_a_failed_build_leaves_the_old_file(tmp_path) -> None:
    path = tmp_path / "f.jsonl"
    files.write(path, [RICH])

    def failing():
        yield instance()
        raise DatasetError("line 7 is broken")

    with pytest.raises(DatasetError, match="line 7"):
        files.write(path, failing())
    with pytest.raises(DatasetError, match="there is no instance to write"):
        files.write(path, [])
    assert list(files.read(path)) == [RICH]
    assert [each.name for each in tmp_path.iterdir()] == ["f.jsonl"]
    with pytest.raises(DatasetError, match="cannot write"):
        files.write(tmp_path / "none" / "f.jsonl", [RICH])


def test_a_file_has_the_rights_that_the_umask_leaves(tmp_path) -> None:
    before = os.umask(0o027)
    try:
        files.write(tmp_path / "f.jsonl", [RICH])
    finally:
        os.umask(before)
    assert (tmp_path / "f.jsonl").stat().st_mode & 0o777 == 0o640


def test_half_a_surrogate_pair_is_refused_with_its_line(tmp_path) -> None:
    broken = {**RICH.to_dict(), "source": "\ud83d"}
    with pytest.raises(DatasetError, match=r"line 1 is no instance: instance\.source .* surrogate"):
        list(files.read(lines(tmp_path / "f.jsonl", broken)))


def test_a_line_that_is_no_instance_is_named(tmp_path) -> None:
    path = lines(tmp_path / "f.jsonl", RICH.to_dict(), {**RICH.to_dict(), "chunks": []})
    with pytest.raises(DatasetError, match=r"f\.jsonl, line 2 is no instance: instance\.chunks"):
        list(files.read(path))
    with pytest.raises(DatasetError, match="line 1 is no instance"):
        list(files.read(lines(tmp_path / "f.jsonl", {**RICH.to_dict(), "chunks": 3})))


def official(path, **changes):
    """One row as the official tools write it."""
    row = {
        "instance_id": 7,
        "prompt": "Read.",
        "chunks": json.dumps(
            ["[Dialogue between User and Assistant on 2024-01-02 10:20]\n<User>Hi\nAda.", "No date here."]
        ),
        "questions_and_answers": json.dumps(
            [{"question": "Who?", "answer": "Ada"}, {"question": "And?", "answer": ["A", "B"]}]
        ),
        "data_source": "squad",
        "metadata": json.dumps({"title": "x"}),
        "num_chunks": 2,
        "num_questions": 2,
        **changes,
    }
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([row]), path)
    return path


def test_an_official_row_is_read_as_it_is(tmp_path) -> None:
    (made,) = files.read(official(tmp_path / "train.parquet"))
    assert (made.instance_id, made.source) == ("squad-7", "squad")
    assert [chunk.event_time for chunk in made.chunks] == ["2024-01-02T10:20", ""]
    assert [question.answers for question in made.questions] == [("Ada",), ("A", "B")]


@pytest.mark.parametrize(
    ("source", "metric"),
    [
        ("hotpotqa", "substring"),
        ("perltqa", "parts"),
        ("pubmed-rct", "label"),
        ("icl_nlu_8296shot_balance", "label"),
        ("booksum", "keywords"),
        ("lme_train", "judge"),
        ("longmemeval_s*", "judge"),
        ("ruler_qa1_197K", "substring"),
        ("infbench_sum_eng_shots2", "keywords"),
    ],
)
def test_the_metric_of_an_official_row_follows_from_its_source(source, metric, tmp_path) -> None:
    (made,) = files.read(official(tmp_path / "f.parquet", data_source=source))
    assert {question.metric for question in made.questions} == {metric}
    hidden = json.dumps({"sub_source": source})
    (made,) = files.read(official(tmp_path / "f.parquet", data_source="accurate_retrieval", metadata=hidden))
    assert made.source == source


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"data_source": "trivia"}, "row 1: data_source must be like squad"),
        ({"chunks": "["}, "row 1 is not of the official form"),
        ({"chunks": "[]"}, r"row 1: instance\.chunks must not be empty"),
        ({"questions_and_answers": '[{"question": "Who?"}]'}, "row 1 is not of the official form"),
    ],
)
def test_a_row_of_another_form_is_refused_with_its_place(changes, complaint, tmp_path) -> None:
    with pytest.raises(DatasetError, match=complaint):
        list(files.read(official(tmp_path / "f.parquet", **changes)))


def test_a_written_file_has_the_official_columns(tmp_path) -> None:
    files.write(tmp_path / "f.parquet", [RICH])
    table = pyarrow.parquet.read_table(tmp_path / "f.parquet")
    assert table.column_names == [
        "instance_id",
        "prompt",
        "chunks",
        "questions_and_answers",
        "data_source",
        "metadata",
        "num_chunks",
        "num_questions",
    ]
    (row,) = table.to_pylist()
    assert (row["instance_id"], row["num_chunks"], row["num_questions"]) == (0, 2, 2)
    assert json.loads(row["questions_and_answers"])[1] == {"question": "Why?", "answer": "work"}


def test_more_questions_than_the_official_tools_take_are_refused(tmp_path) -> None:
    many = Instance("many", "squad", RICH.chunks, RICH.questions[:1] * 101)
    with pytest.raises(DatasetError, match="many has 101 questions; the form takes 100"):
        files.write(tmp_path / "f.parquet", [many])


def test_what_is_no_parquet_and_a_missing_library_are_said(tmp_path, monkeypatch) -> None:
    (tmp_path / "f.parquet").write_text("text")
    with pytest.raises(DatasetError, match="as parquet"):
        list(files.read(tmp_path / "f.parquet"))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DatasetError, match=r"memalpha\[data\]"):
        list(parquet.read(tmp_path / "f.parquet"))


def test_a_summary_counts_by_source_and_knows_the_paper_s_counterpart() -> None:
    first, second = summarize([instance("a b", "c"), RICH, instance("d", name="two")])
    assert (first.source, first.instances, first.chunks, first.questions) == ("squad", 2, 3, 2)
    assert first.tokens == count_tokens("a b") + count_tokens("c") + count_tokens("d")
    assert (first.chunks_per_instance, first.questions_per_instance) == (1.5, 1.0)
    assert first.paper is not None
    assert first.paper.chunk_tokens == 1084
    assert (second.with_evidence, second.questions) == (1, 2)
    (unknown,) = summarize([instance(source="mine")])
    assert unknown.paper is None
