"""`evals run` and `evals resume` from the outside: files in, folder and tables out."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from memalpha.agent.backoff import Backoff
from memalpha.errors import AlreadyExistsError, ConflictError, InternalError, InvalidInputError, make
from memalpha_evals.cli import app
from memalpha_evals.protocols import Usage
from memalpha_evals.readers.extract import ExtractReader
from memalpha_evals.runs import read
from memalpha_evals.runs.compose import reader_parts
from memalpha_evals.runs.execute import Counts
from memalpha_evals.runs.progress import duration, figures

TINY = Path(__file__).parent / "data" / "tiny_locomo.json"
SYSTEMS = "no-memory,full-context,memalpha"


def evals(*arguments):
    return CliRunner().invoke(app, [str(each) for each in arguments])


def run(out, *more):
    systems = () if "--systems" in more else ("--systems", SYSTEMS)
    return evals("run", "locomo", "--data", TINY, *systems, "--out", out, "--budget", 256, *more)


def timeless(path: Path) -> list[dict]:
    lines = [json.loads(line) for line in (path / "rows.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "timing"} for line in lines]


def test_a_stranger_gets_a_table_and_a_folder_with_a_report(tmp_path):
    result = run(tmp_path / "run")
    assert result.exit_code == 0, result.output
    assert all(name in result.stdout for name in SYSTEMS.split(","))
    assert {path.name for path in (tmp_path / "run").iterdir()} >= {
        *("manifest.json", "steps.jsonl", "rows.jsonl", "report.md", "report.html")
    }
    found = read(tmp_path / "run")
    assert found.done
    assert {row.system for row in found.rows} == set(SYSTEMS.split(","))
    assert not any(row.failure for row in found.rows)
    assert all(row.context_tokens <= 256 for row in found.rows)
    assert all(row.scores for row in found.rows)
    what = found.manifest["what"]
    assert (what["budget"], what["data"]["licence"]) == (256, "CC BY-NC 4.0")
    assert found.manifest["timing_fields"] == ["timing"]


def test_a_replica_that_is_away_at_the_start_is_said_and_kept_in_the_manifest(tmp_path):
    result = run(tmp_path, "--policy", "127.0.0.1:9,extractive", "--systems", "memalpha", "--questions", 1)
    assert result.exit_code == 0, result.output
    assert "policy 127.0.0.1:9 does not answer: left out" in result.stderr
    (start,) = read(tmp_path).manifest["starts"]
    assert (start["left_out"], start["state"]) == (["127.0.0.1:9"], "done")
    # the control: of one at which all answer nothing is said
    run(tmp_path / "whole", "--systems", "no-memory", "--questions", 1)
    assert "left_out" not in read(tmp_path / "whole").manifest["starts"][0]


def test_the_same_run_twice_has_the_same_rows_and_another_seed_draws_other_questions(tmp_path):
    for name, seed in (("one", 1), ("two", 1)):
        assert run(tmp_path / name, "--questions", 2, "--seed", seed).exit_code == 0
    assert timeless(tmp_path / "one") == timeless(tmp_path / "two")
    drawn = set()
    for seed in range(4):
        run(tmp_path / f"seed {seed}", "--questions", 2, "--draw-seed", seed, "--systems", "no-memory")
        drawn.add(tuple(row["question_id"] for row in timeless(tmp_path / f"seed {seed}")))
    assert len(drawn) > 1


def test_seeds_of_calls_leave_the_questions_alone_so_that_they_can_be_taken_together(tmp_path):
    folders = [tmp_path / f"seed {seed}" for seed in (1, 2, 3)]
    for seed, folder in enumerate(folders, 1):
        run(folder, "--questions", 2, "--seed", seed)
    assert evals("compare", *folders, "--seeds").exit_code == 0
    again = evals("compare", folders[0], folders[1], "--seeds", "--system", "no-memory")
    assert again.exit_code == 0
    run(tmp_path / "same", "--questions", 2, "--seed", 1)
    assert "seed: " in str(evals("compare", *folders, tmp_path / "same", "--seeds").exception)


def test_a_run_goes_on_where_the_same_data_lie_now_and_not_with_others(tmp_path):
    data, moved, others = (tmp_path / f"{name}.json" for name in ("data", "moved", "others"))
    data.write_bytes(TINY.read_bytes())
    evals("run", "locomo", "--data", data, "--systems", "no-memory", "--out", tmp_path / "run")
    (tmp_path / "run" / "rows.jsonl").unlink()
    data.rename(moved)
    others.write_text(TINY.read_text().replace("violin", "cello"))
    assert "cannot read" in str(evals("resume", tmp_path / "run").exception)
    assert isinstance(evals("resume", tmp_path / "run", "--data", others).exception, ConflictError)
    assert evals("resume", tmp_path / "run", "--data", moved).exit_code == 0
    assert read(tmp_path / "run").done
    assert read(tmp_path / "run").manifest["plan"]["data"] == str(moved)


def test_a_folder_that_has_a_run_is_refused_before_anything_is_read(tmp_path):
    run(tmp_path / "run", "--systems", "no-memory")
    again = evals("run", "locomo", "--data", tmp_path / "nothing.json", "--out", tmp_path / "run")
    assert isinstance(again.exception, AlreadyExistsError)


def test_a_torn_run_is_resumed_from_its_folder_alone(tmp_path):
    run(tmp_path / "whole")
    run(tmp_path / "torn")
    rows = (tmp_path / "torn" / "rows.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "torn" / "rows.jsonl").write_text("".join(rows[:3]) + rows[3][:20])
    manifest = json.loads((tmp_path / "torn" / "manifest.json").read_text())
    del manifest["starts"][-1]["state"]
    (tmp_path / "torn" / "manifest.json").write_text(json.dumps(manifest))
    assert not read(tmp_path / "torn").done
    result = evals("resume", tmp_path / "torn")
    assert result.exit_code == 0, result.output
    assert timeless(tmp_path / "torn") == timeless(tmp_path / "whole")
    assert "is finished" in evals("resume", tmp_path / "torn").output


def started(out):
    """A run in a process of its own, whose reader takes its time, once it has written a row."""
    script = f"""
import asyncio, sys
from memalpha_evals.readers.extract import ExtractReader
answer = ExtractReader.answer
async def slow(self, context, asked):
    await asyncio.sleep(0.3)
    return await answer(self, context, asked)
ExtractReader.answer = slow
sys.argv = ["evals", "run", "locomo", "--data", {str(TINY)!r}, "--systems", "no-memory,memalpha",
            "--out", {str(out)!r}, "--slots", "1"]
from memalpha_evals.cli import main
main()
"""
    process = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True)
    rows = out / "rows.jsonl"
    deadline = time.monotonic() + 90
    while not (rows.exists() and rows.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.05)
    return process


def test_ctrl_c_says_how_to_go_on(tmp_path):
    process = started(tmp_path / "run")
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert re.search(r"go on with: evals resume \S+/run", said)
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["starts"][-1]["state"] == "stopped"
    before = len(read(tmp_path / "run").rows)
    assert evals("resume", tmp_path / "run").exit_code == 0
    assert len(read(tmp_path / "run").rows) > before > 0


def test_a_killed_run_that_is_resumed_has_the_rows_of_one_that_was_not(tmp_path):
    process = started(tmp_path / "killed")
    process.kill()
    process.communicate(timeout=60)
    assert not read(tmp_path / "killed").done
    before = len(timeless(tmp_path / "killed"))
    assert evals("resume", tmp_path / "killed").exit_code == 0
    words = ("--data", TINY, "--systems", "no-memory,memalpha", "--slots", 1)
    assert evals("run", "locomo", *words, "--out", tmp_path / "whole").exit_code == 0
    assert timeless(tmp_path / "killed") == timeless(tmp_path / "whole")
    assert len(timeless(tmp_path / "whole")) > before > 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--systems", "mind-reading"], "system must be one of"),
        (["--systems", ","], "systems must be of"),
        (["--systems", "summary"], "needs a model"),
        (["--policy", "nobody"], "policy must be"),
        (["--reader", "oracle"], "reader must be"),
        (["--reader", "policy:extractive"], "needs a model"),
    ],
)
def test_what_cannot_be_run_is_said_before_anything_is_made(tmp_path, arguments, said):
    result = run(tmp_path / "run", *arguments)
    assert result.exit_code != 0
    assert said in str(result.exception)
    assert not (tmp_path / "run" / "manifest.json").exists()


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("extract", ("extract", "")),
        ("policy:localhost:50053", ("policy", "localhost:50053")),
        ("localhost:50053", ("policy", "localhost:50053")),
        ("openai:some-model", ("openai", "openai:some-model")),
        ("transformers:a/folder", ("policy", "transformers:a/folder")),
        ("choice:localhost:50053", ("choice", "localhost:50053")),
    ],
)
def test_a_reader_is_named_in_a_word(text, parts):
    assert reader_parts(text) == parts


def test_a_word_that_names_no_reader_is_refused():
    with pytest.raises(InvalidInputError, match="oracle"):
        reader_parts("oracle")


def test_progress_says_what_is_left():
    counts = Counts(all_chunks=10, all_questions=30, chunks=10, questions=10)
    counts.usage = Usage(10, 900, 0, 100)
    # 20 pieces in 10 seconds, 20 to go.
    assert figures(counts, 10.0) == ["2.0 per second", "10 calls with 1,000 tokens", "about 10s left"]
    counts.failures = 1
    assert "1 failed row" in figures(counts, 10.0)
    assert [duration(each) for each in (9, 200, 7500)] == ["9s", "3m 20s", "2h 05m"]


def test_a_run_in_which_every_question_failed_says_so_and_ends_with_1(tmp_path, monkeypatch):
    async def broken(self, context, asked):
        if asked.question.text in spared:
            return await answer(self, context, asked)
        raise make(InternalError, "BROKEN", "the reader is broken")

    answer, spared = ExtractReader.answer, set[str]()
    monkeypatch.setattr(ExtractReader, "answer", broken)
    monkeypatch.setattr(Backoff, "pause", lambda self, failures: 0.0)
    result = run(tmp_path / "all", "--systems", "no-memory")
    assert result.exit_code == 1
    assert "every question failed: reader: the reader is broken" in result.stderr
    again = evals("resume", tmp_path / "all")
    assert again.exit_code == 1
    assert "every question failed: reader: the reader is broken" in again.stderr
    spared.add(read(tmp_path / "all").rows[0].question)
    assert run(tmp_path / "all but one", "--systems", "no-memory").exit_code == 0
    assert evals("resume", tmp_path / "all but one").exit_code == 0


def test_systems_that_are_named_one_by_one_are_all_run_and_none_twice(tmp_path):
    words = ("run", "locomo", "--data", TINY, "--budget", 256, "--out", tmp_path / "run")
    assert evals(*words, "--systems", "no-memory", "--systems", "memalpha,rag-bm25").exit_code == 0
    names = [each["name"] for each in read(tmp_path / "run").manifest["what"]["systems"]]
    assert names == ["no-memory", "memalpha", "rag-bm25"]
    twice = evals(*words[:-1], tmp_path / "twice", "--systems", "memalpha", "--systems", "memalpha")
    assert "'memalpha' is there 2 times" in str(twice.exception)
