"""`memalpha data`: each command once, its JSON, its exit codes."""

import json

import pytest
from typer.testing import CliRunner

from memalpha.cli import app

from .support import document, lines, multihop, squad


def run(*args):
    return CliRunner().invoke(app, ["data", *map(str, args)])


@pytest.fixture
def made(tmp_path):
    """A file of instances, and the folder that it was built from."""
    document(tmp_path / "raw" / "train-v1.json", squad(40))
    out = tmp_path / "squad.jsonl"
    sizes = ("--chunks", "2-6", "--chunk-tokens", "40-60", "--questions", "2-5")
    result = run("build", "--source", "squad", "--data", tmp_path / "raw", "--out", out, *sizes)
    assert result.exit_code == 0, result.output
    assert "SQuAD" in result.stdout
    assert "1,084" in result.stdout
    return out


def test_build_writes_instances_within_the_given_limits(made) -> None:
    instances = [json.loads(line) for line in made.read_text().splitlines()]
    assert instances
    assert all(2 <= len(each["chunks"]) <= 6 and len(each["questions"]) <= 5 for each in instances)


def test_inspect_shows_one_instance_and_refuses_a_number_that_is_not_there(made) -> None:
    shown = run("inspect", made, "2")
    assert "squad-train-00002" in shown.stdout
    assert "? Where does river" in shown.stdout
    document_ = json.loads(run("--json", "inspect", made).stdout)
    assert document_["instance_id"] == "squad-train-00001"
    assert run("inspect", made, "99").exit_code == 2
    assert run("inspect", made, "0").exit_code == 2


def test_stats_prints_a_line_for_each_source(made) -> None:
    (line,) = run("--json", "stats", made).stdout.splitlines()
    row = json.loads(line)
    assert row["source"] == "squad"
    assert row["paper"]["chunks"] == 9.9


def test_export_goes_there_and_back(made, tmp_path) -> None:
    pytest.importorskip("pyarrow", reason="needs the extra memalpha[data]")
    assert run("export", made, "--parquet", tmp_path / "f.parquet").exit_code == 0
    assert run("export", tmp_path / "f.parquet", "--jsonl", tmp_path / "back.jsonl").exit_code == 0
    assert (tmp_path / "back.jsonl").read_text() == made.read_text()
    assert run("export", made).exit_code == 2
    assert run("export", made, "--parquet", tmp_path / "f.jsonl").exit_code == 2


def test_check_fails_on_a_planted_leak_and_passes_without(made, tmp_path) -> None:
    whole = [json.loads(line) for line in made.read_text().splitlines()]
    train = lines(tmp_path / "train.jsonl", *whole[:-1])
    test = lines(tmp_path / "test.jsonl", whole[-1])
    leaking = lines(tmp_path / "leaking.jsonl", *whole)
    clean = run("check", train, test)
    assert (clean.exit_code, "no leak" in clean.stdout) == (0, True), clean.output
    failed = run("--json", "check", leaking, test)
    assert failed.exit_code == 1
    assert {json.loads(line)["kind"] for line in failed.stdout.splitlines()} == {"question", "context"}


def test_a_build_apart_from_a_test_passes_the_check(tmp_path) -> None:
    lines(tmp_path / "hotpot_train.jsonl", *(multihop(n) for n in range(9)))
    lines(tmp_path / "hotpot_dev.jsonl", multihop(3))
    sizes = ("--chunks", "1-50", "--chunk-tokens", "20", "--questions", "1-50")
    common = ("build", "--source", "hotpotqa", "--data", tmp_path, *sizes)
    test, train = tmp_path / "test.jsonl", tmp_path / "train.jsonl"
    assert run(*common, "--split", "dev", "--out", test).exit_code == 0
    assert run(*common, "--out", train).exit_code == 0
    assert run("check", train, test).exit_code == 1
    assert run(*common, "--out", train, "--apart-from", test).exit_code == 0
    assert run("check", train, test).exit_code == 0


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        (("--source", "locomo"), "nothing is built from locomo"),
        (("--source", "squad", "--split", "test"), "--split must be train or dev"),
        (("--source", "squad", "--chunks", "many"), "--chunks must be a range such as 5-10"),
        (("--source", "squad", "--questions", "9-2"), "questions must be a range"),
        (("--source", "squad"), "has no train file of squad"),
    ],
)
def test_bad_input_is_told_and_nothing_is_written(args, complaint, tmp_path) -> None:
    result = run("build", *args, "--data", tmp_path, "--out", tmp_path / "f.jsonl")
    assert result.exit_code == 2
    assert complaint in result.stderr
    assert list(tmp_path.iterdir()) == []
