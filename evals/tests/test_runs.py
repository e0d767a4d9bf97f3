"""A run goes on where it was, makes nothing again that it has, and shows nobody what answers a question."""

import asyncio
import json
import os
import random
import signal
import time
from dataclasses import replace
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from fakes_run import Echo, Hashing, comparison, dataset

from memalpha.agent.backoff import Backoff
from memalpha.errors import (
    AlreadyExistsError,
    BusyError,
    ConflictError,
    CorruptionError,
    InvalidInputError,
    NotFoundError,
    UnavailableError,
    make,
)
from memalpha_evals.runs import Execution, RunFolder, journal, manifest, read
from memalpha_evals.runs.evidence import EvidenceRecall
from memalpha_evals.scheduler import Limits, Outage, Patience, Scheduler

AT_ONCE = Patience(tries=3, busy_tries=3, pause=Backoff(0.0, 0.0))


def start(path, made, **options):
    folder = RunFolder.create(path, manifest.describe(made, {}))
    return carried_out(folder, made, **options)


def go_on(path, made, **options):
    return carried_out(RunFolder.resume(path, manifest.what(made)), made, **options)


def carried_out(folder, made, slots=4, **options):
    with folder:
        execution = Execution(made, folder, Limits(slots), AT_ONCE, **options)
        return asyncio.run(execution.run())


def timeless(path: Path) -> list[dict]:
    lines = [json.loads(line) for line in (path / "rows.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "timing"} for line in lines]


def torn(path: Path, name: str, kept: int) -> None:
    """What a kill leaves: whole lines and half of one; nothing says that the run ended."""
    lines = (path / name).read_text().splitlines(keepends=True)
    (path / name).write_text("".join(lines[:kept]) + lines[kept][: len(lines[kept]) // 2])


def test_every_question_has_a_row_that_was_answered_from_exactly_the_chunks_before_it(tmp_path):
    start(tmp_path, comparison())
    rows = read(tmp_path).rows
    # 3 conversations of 6, 5 and 4 turns, one turn a chunk; odd questions stand in the midst.
    assert len(rows) == 12
    assert {(row.conversation, row.question_id): row.stored_tokens for row in rows} == {
        (f"c{number}", str(question)): (turns // 2 if question % 2 else turns)
        for number, turns in enumerate((6, 5, 4))
        for question in range(4)
    }


def test_a_row_says_what_reading_took_up_to_its_question(tmp_path):
    start(tmp_path, comparison())
    row = next(row for row in read(tmp_path).rows if (row.conversation, row.question_id) == ("c0", "1"))
    # Three steps with prompts of 10, 11 and 12 tokens.
    assert (row.built.calls, row.built.prompt_tokens, row.built.completion_tokens) == (3, 33, 9)
    assert row.read.calls == 1


def test_evidence_recall_is_the_share_of_word_pairs_whoever_says_them(tmp_path):
    start(tmp_path, comparison())
    row = next(row for row in read(tmp_path).rows if row.evidence_recall is not None)
    assert row.evidence_recall == 0  # a digest holds no words
    recall = EvidenceRecall(dataset())
    # Question 1: (ann, town) (town, 0) (0, street) (street, 1) (1, stand) (stand, hous) (hous, 7).
    held = recall.of(replace(row, question_id="1", context="I stood in town 0, street 1."))
    assert held == pytest.approx(3 / 7)
    others = recall.of(replace(row, question_id="1", context="In town 1 street 0 stands house 0."))
    assert others == pytest.approx(1 / 7)  # only (stand, hous): (1, street) is another pair
    assert recall.of(replace(row, conversation="another", context="In town 0 street 1.")) is None


@pytest.mark.parametrize("kept_steps", [0, 1, 7, 13])
def test_a_torn_run_goes_on_to_the_same_rows_and_generates_only_what_is_missing(tmp_path, kept_steps):
    start(tmp_path / "whole", comparison())
    start(tmp_path / "torn", comparison())
    torn(tmp_path / "torn", "steps.jsonl", kept_steps)
    torn(tmp_path / "torn", "rows.jsonl", 0)
    system = Hashing()
    go_on(tmp_path / "torn", comparison(system))
    assert timeless(tmp_path / "torn") == timeless(tmp_path / "whole")
    assert len(system.replayed) == kept_steps
    assert len(system.generated) == 15 - kept_steps


def test_a_question_that_has_a_row_is_not_asked_again(tmp_path):
    start(tmp_path, comparison())
    before = timeless(tmp_path)
    torn(tmp_path, "rows.jsonl", 9)
    reader = Echo()
    go_on(tmp_path, comparison(reader=reader))
    assert len(reader.asked) == 3
    assert timeless(tmp_path) == before


def test_steps_of_another_stream_are_not_replayed(tmp_path):
    start(tmp_path, comparison())
    (tmp_path / "rows.jsonl").unlink()
    lines = [json.loads(line) for line in (tmp_path / "steps.jsonl").read_text().splitlines()]
    lines[2]["record"]["state"] = "tampered with"
    (tmp_path / "steps.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(CorruptionError, match="another state at step"):
        go_on(tmp_path, comparison())


def test_a_disk_that_is_full_stops_the_run_and_fails_no_row(tmp_path, monkeypatch):
    def full(file, texts):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(journal, "_append", full)
    with pytest.raises(OSError, match="No space left"):
        start(tmp_path, comparison(Hashing(pause=0.1)))
    monkeypatch.undo()
    go_on(tmp_path, comparison())
    assert not any(row.failure for row in read(tmp_path).rows)
    assert len(read(tmp_path).rows) == 12


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({"data": dataset(questions=3)}, "streams.sha256"),
        ({"data": replace(dataset(), sha256="1" * 64)}, "data.sha256"),
        ({"budget": 65}, "budget"),
        ({"systems": (Hashing("another"),)}, "systems.0"),
    ],
)
def test_a_run_of_something_else_is_not_gone_on_with(tmp_path, changed, name):
    start(tmp_path, comparison())
    made = comparison(data=changed.get("data"))
    others = {key: value for key, value in changed.items() if key != "data"}
    with pytest.raises(ConflictError, match=name):
        go_on(tmp_path, replace(made, **others))


def test_a_run_is_not_gone_on_with_by_other_versions_of_what_makes_its_rows(tmp_path, monkeypatch):
    start(tmp_path, comparison())
    monkeypatch.setattr(manifest, "version", lambda package: "99")
    with pytest.raises(ConflictError, match=r"packages\.memalpha .* now it is '99'"):
        go_on(tmp_path, comparison())


def test_a_run_ends_only_with_the_rows_that_it_has_to_have(tmp_path):
    start(tmp_path, comparison())
    made = comparison(data=dataset(questions=3))
    for keys, said in ((made.keys, "is no row of the run"), (comparison().keys | {("a", "b", "c")}, "a/b/c")):
        with (
            RunFolder.resume(tmp_path, manifest.what(comparison())) as folder,
            pytest.raises(CorruptionError, match=said) as raised,
        ):
            folder.finish(keys, lambda row: replace(row, answer="finished"))
        assert raised.value.reason == "ROWS_MISSING"
    assert not any(row.answer == "finished" for row in read(tmp_path).rows)


def test_a_finished_run_that_lost_a_row_is_not_finished(tmp_path):
    start(tmp_path, comparison())
    assert read(tmp_path).done
    lines = (tmp_path / "rows.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "rows.jsonl").write_text("".join(lines[1:]))
    assert not read(tmp_path).done


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"scores": 5}, "scores"),
        ({"answers": "Paris"}, "answers"),
        ({"context_tokens": "many"}, "context_tokens"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_rows_of_another_shape_are_named_with_file_line_and_field(tmp_path, change, said):
    start(tmp_path, comparison())
    lines = (tmp_path / "rows.jsonl").read_text().splitlines()
    lines[1] = json.dumps(json.loads(lines[1]) | change)
    (tmp_path / "rows.jsonl").write_text("\n".join(lines) + "\n")
    with pytest.raises(CorruptionError, match=rf"rows\.jsonl, line 2 is no row: {said}"):
        read(tmp_path)


def test_a_file_is_no_run_and_no_place_for_one(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(NotFoundError, match="is no run"):
        read(file)
    for path in (file, file / "below"):
        with pytest.raises(InvalidInputError, match=r"file is a file"):
            start(path, comparison())
    (tmp_path / "manifest.json").write_text('{"format": 1, "what": [], "plan": {}, "starts": []}')
    with pytest.raises(CorruptionError, match="must be the manifest of a run"):
        read(tmp_path)


def test_a_folder_has_one_run_and_one_process_at_a_time(tmp_path):
    made = comparison()
    with (
        RunFolder.create(tmp_path, manifest.describe(made, {})),
        pytest.raises(BusyError, match=str(os.getpid())),
    ):
        RunFolder.resume(tmp_path, manifest.what(made))
    with pytest.raises(AlreadyExistsError, match="evals resume"):
        RunFolder.create(tmp_path, manifest.describe(made, {}))
    with pytest.raises(NotFoundError):
        read(tmp_path / "nothing")


def test_damage_that_no_crash_makes_is_an_error(tmp_path):
    start(tmp_path, comparison())
    text = (tmp_path / "steps.jsonl").read_text().splitlines()
    (tmp_path / "steps.jsonl").write_text("\n".join([text[0], "{", *text[2:]]) + "\n")
    with pytest.raises(CorruptionError, match=r"line 2"):
        go_on(tmp_path, comparison())


def test_systems_see_no_question_and_nobody_sees_an_answer(tmp_path):
    knowing, blind_one, reader = Hashing("knowing", query_aware=True), Hashing("blind"), Echo()
    start(tmp_path, comparison(knowing, blind_one, reader=reader))
    assert all(stream.questions == () for stream, _ in knowing.opened + blind_one.opened)
    assert all(asked is None for _, asked in blind_one.opened)
    asked = [each for _, each in knowing.opened if each] + reader.asked
    assert len(asked) == 12 + 24
    assert not any(
        "house 7" in str(each) or each.question.evidence or each.question.category for each in asked
    )
    assert all(each.question.text for each in asked)


def test_a_query_aware_system_reads_once_for_each_question(tmp_path):
    system = Hashing(query_aware=True)
    start(tmp_path, comparison(system))
    # Two questions at the end and two in the midst, in streams of 6, 5 and 4 chunks.
    assert len(system.generated) == 2 * (6 + 3) + 2 * (5 + 2) + 2 * (4 + 2)
    assert system.closed == len(system.opened) == 12


def test_a_system_that_builds_nothing_is_asked_at_once(tmp_path):
    system = Hashing(builds=False)
    start(tmp_path, comparison(system))
    assert (len(read(tmp_path).rows), system.generated) == (12, [])


def test_a_stream_that_fails_fails_the_questions_behind_it_and_no_others(tmp_path):
    start(tmp_path, comparison(Hashing(broken=[("c0", 4)])))
    rows = read(tmp_path).rows
    failed = {(row.conversation, row.question_id) for row in rows if row.failure}
    assert failed == {("c0", "0"), ("c0", "2")}
    assert all(set(row.scores.values()) == {0.0} for row in rows if row.failure)


def test_failed_rows_are_asked_again_if_that_is_wanted(tmp_path):
    start(tmp_path / "whole", comparison())
    start(tmp_path / "broken", comparison(Hashing(broken=[("c0", 4)])))
    system = Hashing()
    go_on(tmp_path / "broken", comparison(system))
    assert system.generated == []
    go_on(tmp_path / "broken", comparison(system), retry_failed=True)
    assert system.generated == [("c0", 4), ("c0", 5)]
    assert timeless(tmp_path / "broken") == timeless(tmp_path / "whole")


def test_an_outage_stops_the_run_and_fails_no_row(tmp_path):
    class Away(Echo):
        async def answer(self, context, asked):
            raise make(UnavailableError, "UNAVAILABLE", "no service at nowhere:1")

    with pytest.raises(Outage, match="nowhere"):
        start(tmp_path, comparison(Hashing(builds=False), reader=Away()))
    assert read(tmp_path).rows == []
    assert not read(tmp_path).done
    go_on(tmp_path, comparison(Hashing(builds=False)))
    assert len(read(tmp_path).rows) == 12


def test_two_services_of_one_policy_are_two_endpoints_so_that_one_hides_no_outage_of_the_other(
    tmp_path, monkeypatch
):
    seen: set[tuple[str, str]] = set()
    run = Scheduler.run

    async def watched(self, chains):
        seen.update((each.endpoint, each._reader_endpoint) for each in chains)
        return await run(self, chains)

    monkeypatch.setattr(Scheduler, "run", watched)
    system, reader = Hashing(), Echo()
    for each in (system, reader):
        each.identity = {"policy": {"id": "m"}}
    made = comparison(system, reader=reader)
    for name, reader_at in (("apart", "b:1"), ("one", "a:1")):
        seen.clear()
        start(tmp_path / name, replace(made, policy_at="a:1", reader_at=reader_at))
        assert seen == {("a:1", reader_at)}


def test_names_that_would_make_rows_alike_are_refused():
    with pytest.raises(InvalidInputError, match="'hashing' is there 2 times"):
        comparison(Hashing(), Hashing())


def work(path: Path) -> None:
    """One start of a run, in a process of its own."""
    made = comparison(
        Hashing(pause=0.004),
        Hashing("knowing", query_aware=True, pause=0.004),
        reader=Echo(pause=0.004),
        data=dataset(conversations=4, turns=12),
    )
    (go_on if (path / "manifest.json").exists() else start)(path, made, slots=3)


def begun(path: Path) -> BaseProcess:
    process = get_context("fork").Process(target=work, args=(path,))
    process.start()
    return process


def killed_at_random(path: Path, moments: random.Random) -> bool:
    """Starts or resumes a run and kills it some time after its first step; whether it was still at work."""
    size = _size(path)
    process = begun(path)
    while process.is_alive() and _size(path) == size:
        time.sleep(0.002)
    time.sleep(moments.uniform(0, 0.1))
    process.kill()
    process.join()
    return process.exitcode == -signal.SIGKILL


def _size(path: Path) -> int:
    steps = path / "steps.jsonl"
    return steps.stat().st_size if steps.exists() else 0


def test_a_run_that_is_killed_again_and_again_has_the_rows_of_one_that_was_not(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    work(whole)
    moments = random.Random(5)
    assert sum(killed_at_random(killed, moments) for _ in range(6)) >= 2
    work(killed)
    assert timeless(killed) == timeless(whole)
    assert len(timeless(whole)) == 32
    steps = [json.loads(line) for line in (killed / "steps.jsonl").read_text().splitlines()]
    taken = [(each["system"], each["conversation"], each["question"], each["place"]) for each in steps]
    assert len(taken) == len(set(taken)), "a step on record was generated again"


def test_rows_that_differ_in_more_than_timing_are_told_apart(tmp_path):
    start(tmp_path / "one", comparison())
    start(tmp_path / "two", comparison(reader=Echo()))
    assert timeless(tmp_path / "one") == timeless(tmp_path / "two")
    rows = (tmp_path / "two" / "rows.jsonl").read_text()
    (tmp_path / "two" / "rows.jsonl").write_text(rows.replace('"calls":3', '"calls":4', 1))
    assert timeless(tmp_path / "one") != timeless(tmp_path / "two")
