"""The seed table as a process whose policy and reader are models: of the models' tier, as it loads torch."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from memalpha_evals.seed_table.page import PLUMBING

pytest.importorskip("torch", reason="needs torch: uv sync --group train")
pytest.importorskip("transformers", reason="needs transformers: uv sync --group train")


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A checkpoint of two layers that writes in the form `lines`."""
    from memalpha.agent import AgentSettings, packs, wire
    from memalpha.agent.prompts import DEFAULT_CORE_TOKENS
    from memalpha.policy.checkpoint import Training
    from memalpha.policy.tiny.corpus import texts
    from memalpha.policy.tiny.make import Shape, tiny

    digest = packs.load("default").digest(wire.get("lines"))
    out = tmp_path_factory.mktemp("model") / "tiny"
    shape = Shape(layers=2, hidden=64, vocabulary=512, context=8192)
    tiny(out, shape, Training(digest, "lines", AgentSettings().view_name, DEFAULT_CORE_TOKENS), texts(0, 200))
    return out


@pytest.fixture
def data(tmp_path) -> Path:
    """Two questions of HotpotQA's form, and the passages that answer them."""
    entries = [
        {
            "_id": f"q{number}",
            "question": f"Who wrote book {number}?",
            "answer": f"Writer {number}",
            "supporting_facts": [[f"Book {number}", 0]],
            "context": [[f"Book {number}", [f"Book {number} is by Writer {number}."]]],
        }
        for number in range(2)
    ]
    path = tmp_path / "data" / "hotpotqa" / "hotpot_dev_distractor_v1.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(entries))
    return tmp_path / "data"


def seed_table(*words: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "memalpha_evals", "seed-table", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False, cwd=cwd)


def test_a_table_is_made_by_models_in_a_process_of_its_own_and_found_finished_by_the_next(
    tmp_path, model, data
) -> None:
    spec, out = f"transformers:{model}", tmp_path / "out"
    words = ("--data", data, "--out", out, "--policy", spec, "--reader", spec, "--cells", "HotpotQA 10K")
    first = seed_table(*words, "--questions", 1, "--json")
    assert first.returncode == 0, first.stderr
    content = json.loads(first.stdout)
    (cell,) = content["cells"]
    (ours,) = cell["ours"]
    assert (ours["system"], ours["paper"]["questions"], ours["failed"]) == ("memalpha", 1, 0)
    # a model of two layers is one for tests, and its figures say so
    assert content["plumbing"] is True
    assert PLUMBING in (out / "seed-table.md").read_text()
    run = out / "hotpotqa-10k"
    (row,) = map(json.loads, (run / "rows.jsonl").read_text().splitlines())
    steps = [json.loads(line) for line in (run / "steps.jsonl").read_text().splitlines()]
    # a model wrote at each step, and a model answered
    assert row["read"]["calls"] >= 1
    assert row["built"]["completion_tokens"] == sum(each["usage"]["completion_tokens"] for each in steps) > 0
    written = (run / "rows.jsonl").stat().st_mtime_ns
    again = seed_table(*words, "--questions", 1, "--json")
    assert (again.returncode, again.stdout) == (0, first.stdout)
    assert (run / "rows.jsonl").stat().st_mtime_ns == written


def test_a_brief_model_writes_and_reads_a_table_of_plumbing_and_is_the_same_the_next_time(
    tmp_path, data
) -> None:
    words = ("--data", data, "--cells", "HotpotQA 10K", "--brief", "--json")
    first = seed_table(*words, "--out", tmp_path / "out")
    assert first.returncode == 0, first.stderr
    content = json.loads(first.stdout)
    assert (content["plumbing"], content["settings"]["reader"]) == (True, "transformers:brief")
    assert [each["paper"]["questions"] for each in content["cells"][0]["ours"]] == [2]
    assert [each["id"] for each in (*content["writers"], *content["readers"])] == ["brief", "brief"]
    require_whole_path(tmp_path / "out" / "hotpotqa-10k")
    # a run takes no other model: one that was made anew, in a folder named otherwise, has the same weights
    shutil.rmtree(tmp_path / "out" / "brief")
    again = seed_table(*words, "--out", "out", cwd=tmp_path)
    assert (again.returncode, again.stdout) == (0, first.stdout)
    other = seed_table(*words, "--out", tmp_path / "out", "--reader", "extract")
    assert (other.returncode, "is the brief model" in other.stderr) == (2, True)


def require_whole_path(run: Path) -> None:
    """Calls were written, and ended by themselves; what they wrote was stored, found, and read to answer."""
    rows, steps = (
        [json.loads(line) for line in (run / name).read_text().splitlines()]
        for name in ("rows.jsonl", "steps.jsonl")
    )
    # a chunk may have 2,048 tokens and an answer 1,024
    calls = [(step["usage"], 2048) for step in steps] + [(row["read"], 1024) for row in rows]
    assert all(0 < usage["completion_tokens"] < most * usage["calls"] for usage, most in calls)
    assert all("S+" in call["text"] for step in steps for call in step["record"]["calls"])
    for row in rows:
        assert row["stored_tokens"] > 0
        assert row["context_tokens"] > 0
        assert row["answer"].strip()


def test_a_brief_model_is_made_after_a_stop_at_any_step(tmp_path, monkeypatch) -> None:
    from memalpha.policy.checkpoint import verified
    from memalpha_evals.seed_table import brief as module

    def stopped(*words: object) -> None:
        raise KeyboardInterrupt

    for step in ("tiny", "_end_often", "_insert_often", "seal"):
        with monkeypatch.context() as patched:
            patched.setattr(module, step, stopped)
            with pytest.raises(KeyboardInterrupt):
                module.brief(tmp_path / "brief")
        assert not (tmp_path / "brief").exists()
    assert module.brief(tmp_path / "brief") == f"transformers:{tmp_path / 'brief'}"
    assert verified(tmp_path / "brief")
    assert [path.name for path in tmp_path.iterdir()] == ["brief"]


def test_a_folder_of_something_else_is_not_taken_for_the_brief_model(tmp_path) -> None:
    from memalpha.errors import InvalidInputError
    from memalpha_evals.seed_table.brief import brief

    (tmp_path / "brief").mkdir()
    (tmp_path / "brief" / "notes.txt").write_text("mine")
    with pytest.raises(InvalidInputError, match="must be empty, or the brief model"):
        brief(tmp_path / "brief")
    assert [path.name for path in tmp_path.rglob("*")] == ["brief", "notes.txt"]


def test_a_folder_that_holds_no_model_is_refused_before_anything_is_made(tmp_path, model, data) -> None:
    spec = f"transformers:{tmp_path / 'nothing'}"
    out = tmp_path / "out"
    done = seed_table(
        *("--data", data, "--out", out, "--policy", f"transformers:{model}", "--reader", spec),
        *("--cells", "HotpotQA 10K", "--questions", 1),
    )
    assert done.returncode != 0
    assert "nothing" in done.stderr
    assert not (out / "hotpotqa-10k").exists()
