"""Other tools read what was exported, and find the same numbers."""

import json
import subprocess
import sys
import time
import zipfile
from dataclasses import replace
from urllib.parse import quote
from urllib.request import urlopen

import pytest
from made_runs import often, row, rows, write

from memalpha.agent import wire
from memalpha.agent.tools import ToolCall
from memalpha.errors import UnsupportedError
from memalpha.up.ports import free_port
from memalpha_evals import export, runs
from memalpha_evals.export.paths import without_paths
from memalpha_evals.export.tool_calls import by_stream
from memalpha_evals.protocols import NO_USAGE, Step
from memalpha_evals.runs import lines, records


@pytest.fixture
def run(tmp_path):
    made = [
        *rows({"no memory": often(0), "memalpha": often(0.5)}),
        row(question=50, failure="down", answer=""),
    ]
    return runs.read(write(tmp_path / "run", made))


def test_parquet_has_a_column_for_each_field_and_score(run, tmp_path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="parquet needs the extra `data`")
    found = parquet.read_table(export.to_parquet(run, tmp_path / "rows.parquet")).to_pylist()
    assert len(found) == len(run.rows)
    for flat, one in zip(found, run.rows, strict=True):
        assert (flat["system"], flat["answer"], tuple(flat["answers"])) == (
            one.system,
            one.answer,
            one.answers,
        )
        assert flat["built_prompt_tokens"] == one.built.prompt_tokens
        assert flat["score.strict.contains"] == one.scores.get("strict.contains")
        assert json.loads(flat["timing"]) == one.timing


def test_without_the_library_the_message_names_the_extra(run, tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "inspect_ai", None)
    monkeypatch.delitem(sys.modules, "memalpha_evals.export.inspect_log", raising=False)
    with pytest.raises(UnsupportedError, match="the extra `inspect`"):
        export.to_inspect(run, tmp_path / "logs")


def test_of_a_path_the_last_part_is_passed_on_and_addresses_stay() -> None:
    given = {
        "data": "/home/me/my sets/locomo10.json",
        "command": ["evals", "--data=/home/me/x.json", "transformers:/home/me/m", "~/m/x"],
        "failure": "no file /home/me/a.json: gone",
        "kept": ["https://example.org/a/b", "and/or", "openai:Qwen/Qwen3-4B", "docs/a.md", 3, None],
    }
    assert without_paths(given) == {
        "data": "locomo10.json",
        "command": ["evals", "--data=x.json", "transformers:m", "x"],
        "failure": "no file a.json: gone",
        "kept": given["kept"],
    }


@pytest.fixture
def logs(run, tmp_path):
    pytest.importorskip("inspect_ai", reason="needs the extra `inspect`")
    return export.to_inspect(run, tmp_path / "logs")


def test_inspects_own_reader_finds_every_question_with_its_scores(run, logs) -> None:
    from inspect_ai.log import read_eval_log  # pyright: ignore[reportMissingImports]

    assert [path.name for path in logs] == ["no-memory.eval", "memalpha.eval"]
    log = read_eval_log(str(logs[1]))
    mine = [one for one in run.rows if one.system == "memalpha"]
    assert log.status == "success"
    assert (log.results.total_samples, log.results.completed_samples) == (len(mine), len(mine) - 1)
    samples = {sample.id: sample for sample in log.samples}
    assert len(samples) == len(mine)
    for one in mine:
        sample = samples[f"{one.conversation}/{one.question_id}"]
        assert sample.input[0].content == one.question
        assert {
            name: score.value for name, score in sample.scores.items() if name != "headline"
        } == one.scores
        assert sample.metadata["cluster"] == one.cluster
        assert (sample.error.message if sample.error else "") == one.failure
    means = {score.name: score.metrics["mean"].value for score in log.results.scores}
    share = [one.scores["strict.contains"] for one in mine if "strict.contains" in one.scores]
    assert means["strict.contains"] == pytest.approx(sum(share) / len(share))


INSERT: dict[str, object] = {"memory_type": "semantic_memory", "content": "Bo swims in Lake Orta"}


def with_steps(run, texts, *, system="memalpha", form="lines", agent=True):
    """The run with a step of one call for each text, by a policy that writes in that form."""
    steps = [
        records.line((system, "conv-0", ""), place, Step({"calls": [{"text": text}]}, NO_USAGE), 0.0)
        for place, text in enumerate(texts)
    ]
    (run.folder / "steps.jsonl").write_text("".join(lines.encoded(step) + "\n" for step in steps))
    identity = {"policy": {"wire_format": form}} | ({"agent": {}} if agent else {})
    described = [
        {**each, "identity": identity} if each["name"] == system else each
        for each in run.manifest["what"]["systems"]
    ]
    return replace(run, manifest={**run.manifest, "what": {**run.manifest["what"], "systems": described}})


@pytest.mark.parametrize("form", wire.NAMES)
def test_tool_calls_are_read_in_the_policys_own_form_and_of_no_other_system(run, form) -> None:
    text = wire.get(form).render([ToolCall("new_memory_insert", INSERT)])
    found = by_stream(with_steps(run, ["", text], form=form), "memalpha")
    ((place, call),) = found["conv-0"]
    assert isinstance(call, ToolCall)
    assert (place, call.name, call.arguments) == (1, "new_memory_insert", INSERT)
    # no agent read with it, another system's steps, another form
    assert by_stream(with_steps(run, [text], form=form, agent=False), "memalpha") == {}
    assert by_stream(with_steps(run, [text], form=form), "no memory") == {}
    assert by_stream(with_steps(run, [text], form="unknown"), "memalpha") == {}


def test_inspects_own_reader_finds_each_tool_call_as_an_event_without_a_result(run, tmp_path) -> None:
    pytest.importorskip("inspect_ai", reason="needs the extra `inspect`")
    from inspect_ai.event import ToolEvent  # pyright: ignore[reportMissingImports]
    from inspect_ai.log import read_eval_log  # pyright: ignore[reportMissingImports]

    half = {**INSERT, "content": "half \ud83d"}
    form = wire.get("lines")
    good, odd = (form.render([ToolCall("new_memory_insert", each)]) for each in (INSERT, half))
    broken = "Bo swims."
    (none, path) = export.to_inspect(with_steps(run, [good, broken, odd]), tmp_path / "logs")
    log = read_eval_log(str(path))
    (read,) = [sample for sample in log.samples if sample.id == "conv-0/memory"]
    assert all(isinstance(event, ToolEvent) for event in read.events)
    assert [event.metadata["chunk"] for event in read.events] == [0, 1, 2]
    first, second, third = read.events
    assert (first.function, first.arguments, first.error, first.result) == (
        "new_memory_insert",
        INSERT,
        None,
        "",
    )
    assert (second.function, second.error.type) == ("(no call)", "parsing")
    assert third.arguments["content"] == "half ?"
    assert read.metadata["results"].startswith("not kept")
    assert not read.scores
    # a stream is one sample more, and no other system has it
    mine = [one for one in run.rows if one.system == "memalpha"]
    assert log.results.total_samples == len(log.samples) == len(mine) + 1
    assert not [each for each in read_eval_log(str(none)).samples if each.id.endswith("/memory")]


def test_a_log_has_no_path_of_this_machine(run, tmp_path) -> None:
    pytest.importorskip("inspect_ai", reason="needs the extra `inspect`")
    home = "/home/somebody"
    manifest = {
        **run.manifest,
        "plan": {
            "data": f"{home}/sets/locomo10.json",
            "policy": f"transformers:{home}/models/m",
            "budget": 64,
        },
        "more": [f"--data={home}/x y/locomo10.json", "https://example.org/a/b", "and/or"],
    }
    rows = [replace(one, failure=f"no file {home}/a: gone") if one.failure else one for one in run.rows]
    for path in export.to_inspect(replace(run, manifest=manifest, rows=rows), tmp_path / "logs"):
        with zipfile.ZipFile(path) as log:
            text = "".join(log.read(name).decode() for name in log.namelist())
        assert home not in text
        assert "transformers:m" in text
        assert all(kept in text for kept in ("https://example.org/a/b", "and/or", "locomo10.json"))


def test_inspects_viewer_opens_a_log(logs) -> None:
    port = free_port("127.0.0.1")
    folder = str(logs[0].parent)
    command = [sys.executable, "-m", "inspect_ai", "view", "start", "--log-dir", folder, "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as viewer:
        try:
            page = _get(f"http://127.0.0.1:{port}/", viewer)
            listed = json.loads(_get(f"http://127.0.0.1:{port}/api/logs", viewer))
            [name] = [each["name"] for each in listed["files"] if each["name"].endswith("memalpha.eval")]
            opened = json.loads(_get(f"http://127.0.0.1:{port}/api/logs/{quote(name, safe='')}", viewer))
        finally:
            viewer.terminate()
    assert b"<html" in page
    questions = {
        sample["messages"][-2]["content"] for sample in opened["samples"] if len(sample["messages"]) > 1
    }
    assert "Where does Bo swim, 0?" in questions


def _get(url: str, viewer: subprocess.Popen) -> bytes:
    """Waits for the viewer to come up, ninety seconds at most."""
    said: OSError | None = None
    for _ in range(180):
        assert viewer.poll() is None, "the viewer ended"
        try:
            with urlopen(url, timeout=30) as answer:
                return answer.read()
        except OSError as error:
            said = error
            time.sleep(0.5)
    raise AssertionError(f"no answer from {url}: {said!r}")
