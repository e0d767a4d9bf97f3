"""Real files whole: what is read of how much, each suite once a day, and what no file was there of."""

import asyncio
import json

import pytest
from typer.testing import CliRunner

from memalpha.errors import InternalError
from memalpha_evals import pages
from memalpha_evals.bench import whole
from memalpha_evals.cli import app


@pytest.fixture
def data(tmp_path):
    """Three questions in HotpotQA's form."""
    rows = [
        {
            "_id": str(n),
            "question": f"Who wrote book {n}?",
            "answer": f"Writer{n}",
            "type": "bridge",
            "supporting_facts": [[f"Book {n}", 0]],
            "context": [[f"Book {n}", [f"Writer{n} wrote book {n}."]]],
        }
        for n in range(3)
    ]
    path = tmp_path / "data" / "hotpotqa" / "hotpot_dev_distractor_v1.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(rows))
    return tmp_path / "data"


@pytest.fixture
def docs(tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "DOCS", tmp_path / "docs")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "real-files.md").write_text(
        "<!-- bench whole:begin, written by evals bench whole --write-docs -->\n<!-- bench whole:end -->\n"
    )
    return tmp_path / "docs"


def test_all_of_a_suite_is_read_and_asked_and_of_a_larger_one_the_first(data, monkeypatch) -> None:
    monkeypatch.setenv("MEMALPHA_DATA", str(data))
    found = asyncio.run(whole.measure("hotpotqa-10k", 1_000_000))
    assert (found["conversations_read"], found["questions_asked"], found["failed"]) == (3, 3, 0)
    assert found["files"] == ["hotpot_dev_distractor_v1.json"]
    assert found["tokens"] > 3 * 20
    part = asyncio.run(whole.measure("hotpotqa-10k", 1))
    assert (part["conversations_read"], part["conversations"]) == (1, 3)
    assert (part["questions_asked"], part["questions"]) == (1, 3)
    assert part["sha256"] == found["sha256"]


def test_suites_of_the_same_files_are_read_once_and_forms_without_a_file_are_named(data) -> None:
    assert whole.names(data) == ["hotpotqa-10k"]
    unseen = whole.unseen(data)
    assert "nq/ nq-open-oracle*.jsonl" in unseen
    assert "hotpotqa/ hotpot_dev_distractor*.json*" not in unseen
    assert "hotpotqa/ dev.jsonl" in unseen


def test_a_suite_that_the_day_s_document_has_is_not_run_again(data, docs, monkeypatch) -> None:
    command = ["bench", "whole", "--data", str(data), "--write-docs", "--json"]
    first = CliRunner().invoke(app, command)
    assert first.exit_code == 0, first.exception
    content = json.loads(first.stdout)
    assert [row["suite"] for row in content["suites"]] == ["hotpotqa-10k"]
    assert "| hotpotqa-10k | hotpot_dev_distractor_v1.json | 3 | 3 |" in (docs / "real-files.md").read_text()
    monkeypatch.setattr(whole, "apart", None)
    again = CliRunner().invoke(app, command)
    assert (again.exit_code, again.stdout) == (0, first.stdout)
    # the control: without the day's document it is
    next(docs.rglob("*.json")).unlink()
    assert isinstance(CliRunner().invoke(app, command).exception, TypeError)


def test_a_suite_that_cannot_be_read_ends_the_command(data, docs) -> None:
    (data / "hotpotqa" / "hotpot_dev_distractor_v1.json").write_text("[{}]")
    done = CliRunner().invoke(app, ["bench", "whole", "--data", str(data), "--write-docs"])
    assert isinstance(done.exception, InternalError)
    assert "hotpotqa-10k ended with" in str(done.exception)
