"""Real files whole: what is read of how much, what need not be read again, and what no file was there of."""

import asyncio
import json
from datetime import date

import pytest
from typer.testing import CliRunner

from memalpha.agent.backoff import Backoff
from memalpha.errors import InternalError, make
from memalpha_evals import pages
from memalpha_evals.bench import whole, whole_kept, whole_report
from memalpha_evals.cli import app
from memalpha_evals.datasets import DatasetError
from memalpha_evals.readers.extract import ExtractReader

MARKERS = "<!-- bench whole:begin, written by evals bench whole --write-docs -->\n<!-- bench whole:end -->\n"
MOST = 2_000_000


def hotpotqa(folder):
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
    path = folder / "hotpotqa" / "hotpot_dev_distractor_v1.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(rows))
    return folder


@pytest.fixture
def data(tmp_path):
    return hotpotqa(tmp_path / "data")


@pytest.fixture
def docs(tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "DOCS", tmp_path / "docs")
    (tmp_path / "docs" / "evals").mkdir(parents=True)
    (tmp_path / "docs" / "real-files.md").write_text(MARKERS)
    return tmp_path / "docs"


@pytest.fixture
def made(monkeypatch):
    """Names of the suites that were measured; they are measured by nobody."""
    names = []

    def apart(name, data, most_tokens):
        names.append(name)
        return row(name, data, most_tokens=most_tokens)

    monkeypatch.setattr(whole, "apart", apart)
    return names


def row(name, data, **changed):
    counts = ("conversations", "conversations_read", "questions", "questions_asked", "tokens", "chunks")
    numbers = dict.fromkeys((*counts, "seconds_loading", "seconds", "cpu_seconds", "peak_mb"), 3)
    of_machine = {"cores": 2, "load": 0.1}
    return {"suite": name, "failed": 0, **numbers, **of_machine, **whole.of_files(name, data), **changed}


def put(day, *rows):
    path = pages.DOCS / whole_kept.document(day)
    path.write_text(json.dumps(whole_report.document(day, rows, [])))
    return path


def evals(data, *words):
    return CliRunner().invoke(app, ["bench", "whole", "--data", str(data), *words])


def test_all_of_a_suite_is_read_and_asked_and_of_a_larger_one_the_first(data, monkeypatch, capsys) -> None:
    monkeypatch.setenv("MEMALPHA_DATA", str(data))
    found = asyncio.run(whole.measure("hotpotqa-10k", 1_000_000))
    assert (found["conversations_read"], found["questions_asked"], found["failed"]) == (3, 3, 0)
    assert found["files"] == ["hotpot_dev_distractor_v1.json"]
    assert found["tokens"] > 3 * 20
    # how far it is is told while it runs
    assert "questions 3/3" in capsys.readouterr().err
    part = asyncio.run(whole.measure("hotpotqa-10k", 1))
    assert (part["conversations_read"], part["conversations"], part["most_tokens"]) == (1, 3, 1)
    assert (part["questions_asked"], part["questions"]) == (1, 3)
    assert part["sha256"] == found["sha256"]


def test_every_row_without_an_answer_is_counted(data, monkeypatch) -> None:
    async def broken(self, context, asked):
        raise make(InternalError, "BROKEN", "the reader is broken")

    monkeypatch.setenv("MEMALPHA_DATA", str(data))
    monkeypatch.setattr(ExtractReader, "answer", broken)
    monkeypatch.setattr(Backoff, "pause", lambda self, failures: 0.0)
    assert asyncio.run(whole.measure("hotpotqa-10k", MOST))["failed"] == 3


def test_suites_of_the_same_files_are_read_once_and_forms_without_a_file_are_named(data) -> None:
    assert whole.names(data) == ["hotpotqa-10k"]
    unseen = whole.unseen(data)
    assert "nq/ nq-open-oracle*.jsonl" in unseen
    assert "hotpotqa/ hotpot_dev_distractor*.json*" not in unseen
    assert "hotpotqa/ dev.jsonl" in unseen


def test_beam_s_published_form_is_unseen_until_a_file_of_it_is_there(data) -> None:
    folder = data / "beam100k"
    folder.mkdir()
    (folder / "01.chat.json.gz").touch()
    assert "beam100k/ N/chat.json" in whole.unseen(data)
    (folder / "1").mkdir()
    (folder / "1" / "chat.json").touch()
    assert "beam100k/ N/chat.json" not in whole.unseen(data)


def test_the_table_says_how_much_of_the_published_set_was_there(data, docs, made) -> None:
    assert evals(data, "--write-docs").exit_code == 0
    text = (docs / "real-files.md").read_text()
    assert "| hotpotqa-10k | hotpot_dev_distractor_v1.json | 3 of 7,405 questions | 3 | 3 |" in text
    assert "is of a part" not in text
    (data / "hotpotqa" / "hotpot_dev_distractor_v1.json").rename(
        data / "hotpotqa" / "hotpot_dev_distractor.sample.dev.json"
    )
    assert evals(data, "--write-docs").exit_code == 0
    text = (docs / "real-files.md").read_text()
    assert "- A name with `.sample` is of a part" in text
    assert "- A name with `.dev` is of a part" in text
    assert made == ["hotpotqa-10k"] * 2


def test_a_suite_that_the_day_s_document_has_is_not_run_again(data, docs, monkeypatch) -> None:
    first = evals(data, "--write-docs", "--json")
    assert first.exit_code == 0, first.exception
    content = json.loads(first.stdout)
    assert [row["suite"] for row in content["suites"]] == ["hotpotqa-10k"]
    monkeypatch.setattr(whole, "apart", None)
    again = evals(data, "--write-docs", "--json")
    assert (again.exit_code, again.stdout) == (0, first.stdout)
    # the control: without the day's document it is
    next(docs.rglob("*.json")).unlink()
    assert isinstance(evals(data, "--write-docs").exception, TypeError)


@pytest.mark.parametrize(
    "changed",
    [
        {"bytes": 1},
        {"files": ["another.json"]},
        {"failed": 1},
        {"error": "it was damaged"},
        {"conversations_read": 2, "most_tokens": 10},
        {"tokens": MOST + 1},
    ],
)
def test_a_row_of_other_files_or_fewer_tokens_or_with_a_failure_is_made_again(
    data, docs, made, changed
) -> None:
    today = date.today().isoformat()
    put(today, row("hotpotqa-10k", data, **changed))
    assert evals(data, "--write-docs").exit_code == 0
    assert made == ["hotpotqa-10k"]
    # the control: as it is now it does
    put(today, row("hotpotqa-10k", data))
    assert evals(data, "--write-docs").exit_code == 0
    assert made == ["hotpotqa-10k"]


def test_yesterday_s_document_is_gone_on_with_unless_it_is_finished(data, docs) -> None:
    def day(*names):
        return whole_kept.begun(date(2026, 3, 1), names, data, MOST)

    assert day("hotpotqa-10k") == "2026-03-01"
    put("2026-02-28", row("hotpotqa-10k", data))
    assert day("hotpotqa-10k", "nq-10k") == "2026-02-28"
    assert day("hotpotqa-10k") == "2026-03-01"
    put("2026-02-28", row("hotpotqa-10k", data, bytes=1))
    assert day("hotpotqa-10k", "nq-10k") == "2026-03-01"
    put("2026-02-28", row("hotpotqa-10k", data))
    put("2026-03-01", row("hotpotqa-10k", data))
    assert day("hotpotqa-10k", "nq-10k") == "2026-03-01"


def test_what_another_command_wrote_meanwhile_is_kept(data, docs, monkeypatch) -> None:
    today = date.today().isoformat()

    def apart(name, data, most_tokens):
        put(today, row("hotpotqa-30k", data))
        return row(name, data)

    monkeypatch.setattr(whole, "apart", apart)
    assert evals(data, "--write-docs").exit_code == 0
    assert [each["suite"] for each in whole_kept.rows(today)] == ["hotpotqa-10k", "hotpotqa-30k"]


def test_a_suite_that_cannot_be_read_is_a_row_and_those_behind_it_are_read(data, docs) -> None:
    (data / "locomo").mkdir()
    (data / "locomo" / "locomo10.json").write_text("[{}]")
    done = evals(data, "--write-docs", "--json")
    assert done.exit_code == 1
    wrong, right = json.loads(done.stdout)["suites"]
    assert (wrong["suite"], right["suite"], right["failed"]) == ("locomo", "hotpotqa-10k", 0)
    assert "locomo10.json" in wrong["error"]
    text = (docs / "real-files.md").read_text()
    assert "### Not read" in text
    assert "| locomo | " in text
    assert str(data) not in text


def test_a_suite_of_which_two_files_fit_is_a_row_that_says_so(data, docs) -> None:
    (data / "hotpotqa" / "hotpot_dev_distractor_v1.json.gz").touch()
    assert whole.names(data) == ["hotpotqa-10k"]
    done = evals(data, "--json")
    assert done.exit_code == 1
    (found,) = json.loads(done.stdout)["suites"]
    assert "in hotpotqa both fit hotpot_dev_distractor*.json*: keep one" in found["error"]


def test_a_suite_whose_process_is_killed_is_a_row_too(data, docs, monkeypatch) -> None:
    monkeypatch.setattr(whole.sys, "executable", "/bin/false")
    found = whole.apart("hotpotqa-10k", data, MOST)
    assert found == {"suite": "hotpotqa-10k", "error": "its process ended with 1"}


def test_names_places_and_the_page_are_checked_before_anything_is_read(data, docs, tmp_path, made) -> None:
    assert "suite must be one of" in str(evals(data, "hotpotqa-10k", "locmo").exception)
    nowhere = evals(tmp_path / "nowhere")
    assert isinstance(nowhere.exception, DatasetError)
    assert "there is no such folder" in str(nowhere.exception)
    assert "has no suite's files" in str(evals(docs).exception)
    (docs / "real-files.md").write_text("its markers are gone\n")
    assert "must hold the line" in str(evals(data, "--write-docs").exception)
    assert made == []
    # the control
    assert evals(data).exit_code == 0
    assert made == ["hotpotqa-10k"]


def test_a_length_of_one_s_own_stands_behind_the_suites(data) -> None:
    rows = [row(name, data) for name in ("hotpotqa-7docs", "hotpotqa-10k")]
    content = whole_report.document("2026-01-01", rows, [])
    assert [each["suite"] for each in content["suites"]] == ["hotpotqa-10k", "hotpotqa-7docs"]
