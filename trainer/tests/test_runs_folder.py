"""A run's folder: what is kept through kills, torn writes and resumptions, and what is refused."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest

from memalpha.errors import (
    AlreadyExistsError,
    BusyError,
    ConflictError,
    CorruptionError,
    InvalidInputError,
    NotFoundError,
)
from memalpha_trainer.asked import Asked
from memalpha_trainer.config import Config, PolicyTable, TinyTable, resolve
from memalpha_trainer.records import ChunkSample, Operation, Rollout, Span
from memalpha_trainer.runs import lines, lock, status
from memalpha_trainer.runs.credits import RolloutCredit, SampleCredit
from memalpha_trainer.runs.folder import RunFolder
from memalpha_trainer.runs.lines import JsonLines
from memalpha_trainer.runs.origin import Origin
from memalpha_trainer.runs.reading import RunFiles
from memalpha_trainer.runs.toml import dumps


def config(tmp_path, *overrides):
    return resolve(None, [f'out="{tmp_path}"', "name=a", "optim.steps=10", "policy.model=m", *overrides])


def a_rollout(step, *, group=0, index=0, text="insert a\u2028</script>"):
    sample = ChunkSample(
        chunk=0,
        prompt="p",
        text=text,
        prompt_ids=(1, 2),
        completion_ids=(3, 4),
        logprobs=(-0.1, -1 / 3),
        versions=(Span(1, 2),),
        seed=7,
        finished=True,
        operations=(Operation("insert", "semantic", 1, "a"),),
    )
    return Rollout(step, group, index, "i", "ledger", (sample,), (), 3, 9)


def a_credit(step):
    return RolloutCredit(step, 0, 0, 0.5, {"answers": 0.5}, (SampleCredit(0.1, {"calls": 1.0}, "", (-0.2,)),))


def trained(run, steps):
    """Has a run do steps, each with a collection before it."""
    for step in steps:
        run.add_rollouts([a_rollout(step)])
        run.add_credits([a_credit(step)])
        run.add_metrics(step + 1, {"reward/total": step / 10})
        run.running(step + 1)


def broken_off(run, error, steps=(1, 2)):
    """Has a run end by an error after some steps."""
    with run:
        for step in steps:
            run.running(step)
        raise error


# the folder


def test_a_new_run_keeps_its_settings_and_what_it_ran_on(tmp_path):
    settings = config(
        tmp_path, "seed=3", 'task.file="x \\u007f\\"é.jsonl"', "eval.units=[1,13]", "optim.lr=1e-6"
    )
    with RunFolder.create(settings) as run:
        assert run.config == settings
    start = run.starts[-1]
    assert (start["seed"], start["step"], start["command"]) == (3, 0, sys.argv)
    assert start["packages"]["memalpha"]
    assert dumps(settings) != dumps(config(tmp_path))


def test_a_name_that_is_taken_is_refused_and_nothing_changes(tmp_path):
    with RunFolder.create(config(tmp_path)):
        pass
    before = (tmp_path / "a/status.json").read_bytes()
    with pytest.raises(AlreadyExistsError, match="resume it, or choose another name"):
        RunFolder.create(config(tmp_path))
    assert (tmp_path / "a/status.json").read_bytes() == before


def test_a_creation_that_was_cut_short_can_be_repeated(tmp_path):
    with RunFolder.create(config(tmp_path)):
        pass
    (tmp_path / "a/config.toml").unlink()
    RunFolder.create(config(tmp_path)).close()


def test_what_is_no_run_cannot_be_resumed(tmp_path):
    with pytest.raises(NotFoundError, match="no run in"):
        RunFolder.resume(config(tmp_path))


def test_rollouts_and_credit_read_back_exactly(tmp_path):
    with RunFolder.create(config(tmp_path)) as run:
        trained(run, range(3))
    assert list(run.rollouts()) == [a_rollout(step) for step in range(3)]
    assert list(run.rollouts(1)) == [a_rollout(1)]
    assert list(run.credits(2)) == [a_credit(2)]


def test_the_rollouts_of_a_run_can_be_replayed(tmp_path):
    replay = pytest.importorskip("memalpha_trainer.rollouts.replay")
    with RunFolder.create(config(tmp_path)) as run:
        trained(run, range(2))
    assert replay.ReplayRollouts.of_file(run.rollouts_file).collect(1) == [a_rollout(1)]


def test_numbers_that_are_not_finite_are_kept_as_missing(tmp_path):
    with RunFolder.create(config(tmp_path)) as run:
        run.add_metrics(1, {"a": float("nan"), "b": float("inf"), "c": 1.5})
    (line,) = run.metrics()
    assert (line["a"], line["b"], line["c"]) == (None, None, 1.5)


# resumption


def test_a_resumption_forgets_what_came_after_its_checkpoint(tmp_path):
    with RunFolder.create(config(tmp_path)) as run:
        trained(run, range(5))
    with RunFolder.resume(config(tmp_path)) as run:
        # steps 4 and 5 of the metrics, collections 3 and 4 of rollouts and credit
        assert run.cut(3) == 6
        trained(run, range(3, 6))
    assert [each["step"] for each in run.metrics()] == [1, 2, 3, 4, 5, 6]
    assert lines.steps(run.rollouts_file) == dict.fromkeys(range(6), 1)
    assert [start["step"] for start in run.starts] == [0, 3]


def test_without_the_cut_a_resumed_run_cannot_write_a_step_again(tmp_path):
    with RunFolder.create(config(tmp_path)) as run:
        trained(run, range(5))
    with RunFolder.resume(config(tmp_path)) as run, pytest.raises(ValueError, match="must not follow step 4"):
        trained(run, range(3, 6))


def test_a_start_is_kept_once_whether_it_cuts_or_not(tmp_path):
    with RunFolder.create(config(tmp_path)) as run:
        run.cut(0)
    assert len(run.starts) == 1


def test_a_resumption_at_step_zero_starts_over(tmp_path):
    with RunFolder.create(config(tmp_path)) as run:
        trained(run, range(2))
    with RunFolder.resume(config(tmp_path)) as run:
        run.cut(0)
    assert run.metrics() == list(run.rollouts()) == []


@pytest.mark.parametrize(
    "changed",
    ["optim.lr=0.1", "seed=1", "optim.kl=0.1", "policy.rows=2", "scale.lora_targets=['q_proj']"],
)
def test_another_configuration_cannot_go_on_with_a_run(tmp_path, changed):
    RunFolder.create(config(tmp_path)).close()
    with pytest.raises(InvalidInputError, match=changed.partition("=")[0]):
        RunFolder.resume(config(tmp_path, changed))
    RunFolder.resume(config(tmp_path)).close()


def test_what_no_gradient_depends_on_may_change(tmp_path):
    RunFolder.create(config(tmp_path)).close()
    free = ("save.keep=9", "log.tracker=wandb", "optim.steps=20", "scale.world=8", "policy.address=b:1")
    later = config(tmp_path, *free, "rewards.judge_address=b:2", "rollouts.concurrency=2")
    with RunFolder.resume(later) as run:
        run.cut(0)
    assert run.config == later


def test_trackers_know_a_run_by_an_id_of_its_own_and_how_far_each_was_told_stands_in_its_folder(tmp_path):
    with RunFolder.create(config(tmp_path)) as run:
        run.cut(0)
        first = run.told
        first.keep("trackio", 4)
        first.keep("wandb", 1)
        first.keep("trackio", 5)
    assert first.name.rpartition("-")[0] == "a"
    with RunFolder.resume(config(tmp_path)) as run:
        run.cut(3)
        assert run.told == first
        assert [run.told.last(each) for each in ("trackio", "wandb", "tensorboard")] == [5, 1, 0]
    with RunFolder.create(config(tmp_path / "elsewhere")) as other:
        assert other.told.name != first.name
        assert other.told.last("trackio") == 0


def test_a_reader_may_move_but_not_come_or_go(tmp_path):
    RunFolder.create(config(tmp_path, "task.reader_address=a:1")).close()
    RunFolder.resume(config(tmp_path, "task.reader_address=b:2")).close()
    with pytest.raises(InvalidInputError, match=r"task\.reader_address"):
        RunFolder.resume(config(tmp_path))


def test_a_run_goes_on_from_the_checkpoint_that_it_began_with_and_from_no_other(tmp_path):
    with RunFolder.create(config(tmp_path), Origin("a" * 64)) as run:
        run.cut(0)
    with pytest.raises(
        InvalidInputError, match=r"began with checkpoint aaaaaaaaaaaa, .* bbbbbbbbbbbb"
    ) as error:
        RunFolder.resume(config(tmp_path), Origin("b" * 64))
    assert error.value.reason == "ANOTHER_BASE"
    with RunFolder.resume(config(tmp_path), Origin("a" * 64)) as run:
        run.cut(0)
    assert [each["base"] for each in run.starts] == ["a" * 64] * 2


def asking(who, whom):
    return Origin(reader=whom) if who == "reader" else Origin(judge=whom)


@pytest.mark.parametrize("who", ["reader", "judge"])
def test_a_run_goes_on_with_the_reader_and_the_judge_that_it_began_with(tmp_path, who):
    first = Asked("Qwen3-32B, version 1", "b:1", (-1.0, -2.0))
    with RunFolder.create(config(tmp_path), asking(who, first)) as run:
        run.cut(0)
    assert run.starts[0][who]["said"] == "Qwen3-32B, version 1"
    others = [
        (
            Asked("Qwen3-14B", "b:2"),
            r"name Qwen3-14B \(at b:2\) now, which differs in what it says of itself:",
        ),
        (replace(first, logprobs=(-1.0, -3.0)), r"\(at b:1\) now, which differs in its logprobs .*, by 1:"),
        (None, "name none now:"),
    ]
    for other, named in others:
        with pytest.raises(
            InvalidInputError, match=rf"began with {who} Qwen3-32B, version 1 \(at b:1\), .*{named}"
        ) as error:
            RunFolder.resume(config(tmp_path), asking(who, other))
        assert error.value.reason == f"ANOTHER_{who.upper()}"
    # It may have moved, and rounds a little otherwise.
    moved = replace(first, at="b:3", logprobs=(-1.1, -2.0))
    RunFolder.resume(config(tmp_path), asking(who, moved)).close()


def test_a_reader_that_was_written_down_as_words_is_not_compared(tmp_path):
    with RunFolder.create(config(tmp_path)) as run:
        (start,) = run.starts
    file = run.path / "environment.json"
    file.write_text(json.dumps({"starts": [start | {"reader": "checkpoint, version 1"}]}))
    RunFolder.resume(config(tmp_path), asking("reader", Asked("version 1", "b:1"))).close()


def test_a_run_of_before_checkpoints_were_written_down_is_bound_from_now_on(tmp_path):
    RunFolder.create(config(tmp_path)).close()
    with RunFolder.resume(config(tmp_path), Origin("a" * 64)) as run:
        run.cut(0)
    with pytest.raises(InvalidInputError, match="began with checkpoint"):
        RunFolder.resume(config(tmp_path), Origin("b" * 64))


def test_a_run_goes_on_with_the_instances_that_it_began_with_and_with_no_others(tmp_path):
    mine, other = tmp_path / "mine.jsonl", tmp_path / "other.jsonl"
    mine.write_text("a")
    other.write_text("b")
    with RunFolder.create(config(tmp_path), Origin.of("", None, mine)) as run:
        run.cut(0)
    for file in (other, None):
        with pytest.raises(InvalidInputError, match="began with instances ca978112ca1b") as error:
            RunFolder.resume(config(tmp_path), Origin.of("", None, file))
        assert error.value.reason == "ANOTHER_DATA"
    RunFolder.resume(config(tmp_path), Origin.of("", None, mine)).close()


def test_a_file_for_evaluation_may_change_but_not_come_or_go(tmp_path):
    mine = tmp_path / "mine.jsonl"
    mine.write_text("a")
    first, second = (config(tmp_path, f"eval.file='{name}.jsonl'") for name in ("first", "second"))
    with RunFolder.create(first, Origin.of("", None, mine, apart=True)) as run:
        run.cut(0)
    RunFolder.resume(second, Origin.of("", None, mine, apart=True)).close()
    # Without it, some of the instances that were trained on would be kept back.
    with pytest.raises(InvalidInputError, match=r"of eval\.file, and the settings name task\.file") as error:
        RunFolder.resume(config(tmp_path), Origin.of("", None, mine))
    assert error.value.reason == "ANOTHER_DATA"


def test_a_run_goes_on_replaying_the_same_file_or_none(tmp_path):
    first, second = tmp_path / "first.jsonl", tmp_path / "second.jsonl"
    first.write_text("a")
    second.write_text("b")
    with RunFolder.create(config(tmp_path), Origin.of("", first)) as run:
        run.cut(0)
    for other in (second, None):
        with pytest.raises(InvalidInputError, match=r"was trained on .*first\.jsonl") as error:
            RunFolder.resume(config(tmp_path), Origin.of("", other))
        assert error.value.reason == "ANOTHER_REPLAY"
    RunFolder.resume(config(tmp_path), Origin.of("", first)).close()


def test_rollouts_that_are_replayed_are_written_down_with_their_hash(tmp_path):
    file = tmp_path / "old.jsonl"
    file.write_bytes(b"")
    with RunFolder.create(config(tmp_path), Origin.of("", file)) as run:
        (start,) = run.starts
    # SHA-256 of nothing.
    assert start["replay"] == str(file)
    assert start["replay_digest"].startswith("e3b0c44298fc")
    assert "base" not in start


def test_more_steps_are_refused_where_the_learning_rate_depends_on_their_number(tmp_path):
    RunFolder.create(config(tmp_path, "optim.schedule=cosine")).close()
    with pytest.raises(InvalidInputError, match=r"optim\.steps"):
        RunFolder.resume(config(tmp_path, "optim.schedule=cosine", "optim.steps=20"))


# torn and damaged lines


@pytest.mark.parametrize("torn", ['{"step":2,"re', '{"step":2}', "\0\0\0\0"])
def test_a_torn_end_is_passed_over_and_removed_by_the_next_writer(tmp_path, torn):
    path = tmp_path / "x.jsonl"
    path.write_text('{"step":1}\n' + torn)
    assert list(lines.read(path)) == ['{"step":1}']
    file = JsonLines(path)
    file.append(['{"step":3}'])
    file.close()
    assert path.read_text() == '{"step":1}\n{"step":3}\n'


def test_damage_before_the_end_is_an_error_that_names_the_line(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text('{"step":1}\ngarbage\n{"step":2}\n')
    for reader in (lambda: list(lines.read(path)), lambda: JsonLines(path), lambda: lines.cut(path, 1)):
        with pytest.raises(CorruptionError, match="line 2"):
            reader()
    assert "garbage" in path.read_text()


def test_a_line_of_another_shape_is_named(tmp_path):
    with RunFolder.create(config(tmp_path)) as run:
        run.rollouts_file.write_text('{"step":0,"group":1}\n')
    with pytest.raises(CorruptionError, match=r"rollouts\.jsonl"):
        list(run.rollouts())


@pytest.mark.parametrize("line", ["{}", '{"a":1,"step":2}', '{"step":5}\n{"step":6}', '{"step":3}'])
def test_a_line_that_could_not_be_found_again_is_refused_with_its_whole_batch(tmp_path, line):
    file = JsonLines(tmp_path / "x.jsonl")
    with pytest.raises(ValueError, match="step"):
        file.append(['{"step":4}', line])
    file.append(['{"step":1}'])
    file.close()
    assert (tmp_path / "x.jsonl").read_text() == '{"step":1}\n'


def test_a_write_that_fails_leaves_whole_lines(tmp_path, monkeypatch):
    file = JsonLines(tmp_path / "x.jsonl")
    file.append(['{"step":1}'])
    real = os.write

    def full(descriptor, data):
        if len(data) < 8:
            raise OSError(28, "No space left on device")
        return real(descriptor, data[:8])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space"):
            file.append(['{"step":2}'])
    file.append(['{"step":3}'])
    file.close()
    assert (tmp_path / "x.jsonl").read_text() == '{"step":1}\n{"step":3}\n'


# kills

_WORKER = """
import sys
from memalpha_trainer.config import resolve
from memalpha_trainer.runs.folder import RunFolder
sys.path.insert(0, sys.argv[2])
from test_runs_folder import a_rollout
settings = [f'out="{sys.argv[1]}"', "name=a", "policy.model=m", "optim.steps=1000000"]
run = RunFolder.create(resolve(None, settings))
run.running(0)
print("ready", flush=True)
for step in range(1_000_000):
    run.add_rollouts([a_rollout(step, text="x" * 5000)])
    run.add_metrics(step + 1, {"a": 1.0})
    run.running(step + 1)
    print(step + 1, flush=True)
"""


def a_worker(tmp_path):
    here = os.path.dirname(__file__)
    command = [sys.executable, "-c", _WORKER, str(tmp_path), here]
    worker = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert worker.stdout is not None
    assert worker.stdout.readline() == "ready\n"
    return worker


@pytest.mark.parametrize("steps", [1, 4])
def test_a_killed_run_has_every_step_that_was_announced_and_goes_on(tmp_path, steps):
    worker = a_worker(tmp_path)
    assert worker.stdout is not None
    announced = [worker.stdout.readline() for _ in range(steps)]
    assert RunFiles(tmp_path / "a").status().state == "running"
    worker.send_signal(signal.SIGKILL)
    worker.communicate()
    run = RunFiles.find(tmp_path / "a")
    assert run.status().state == "died"
    assert [each["step"] for each in run.metrics()][:steps] == [int(each) for each in announced]
    with RunFolder.resume(config(tmp_path, "optim.steps=1000000")) as folder:
        folder.cut(steps)
        trained(folder, [steps])
        folder.end("done")
    assert [each["step"] for each in run.metrics()] == list(range(1, steps + 2))
    assert [each.step for each in run.rollouts()] == list(range(steps + 1))
    assert run.status().state == "done"


def test_two_processes_cannot_work_on_one_run(tmp_path):
    worker = a_worker(tmp_path)
    try:
        with pytest.raises(BusyError, match=f"in use by process {worker.pid}"):
            RunFolder.resume(config(tmp_path))
        with pytest.raises(BusyError):
            RunFolder.create(config(tmp_path))
    finally:
        worker.kill()
        worker.communicate()
    RunFolder.resume(config(tmp_path, "optim.steps=1000000")).close()


# the status


def test_a_run_tells_how_it_ended(tmp_path):
    with pytest.raises(RuntimeError):
        broken_off(RunFolder.create(config(tmp_path)), RuntimeError("out of memory"))
    found = RunFiles(tmp_path / "a").status()
    assert (found.state, found.step, found.of, found.message) == (
        "failed",
        2,
        10,
        "RuntimeError: out of memory",
    )
    with pytest.raises(KeyboardInterrupt):
        broken_off(RunFolder.resume(config(tmp_path)), KeyboardInterrupt())
    assert RunFiles(tmp_path / "a").status().state == "stopped"


def test_a_resumption_that_fails_at_once_says_so(tmp_path):
    with RunFolder.create(config(tmp_path)) as run:
        trained(run, range(2))
        run.end("stopped")
    with pytest.raises(RuntimeError):
        broken_off(RunFolder.resume(config(tmp_path)), RuntimeError("no model"), steps=())
    found = run.status()
    assert (found.state, found.step, found.message) == ("failed", 2, "RuntimeError: no model")


def test_a_run_that_ended_in_good_order_keeps_its_own_words(tmp_path):
    with RunFolder.create(config(tmp_path)) as run:
        run.running(10)
        run.end("done", "all steps")
    assert (run.status().state, run.status().message) == ("done", "all steps")


def test_states_follow_the_table_alone(tmp_path):
    with (
        RunFolder.create(config(tmp_path)) as run,
        pytest.raises(ConflictError, match="created cannot become done"),
    ):
        run.end("done")
    with pytest.raises(CorruptionError, match=r"status\.json"):
        status.read(tmp_path / "status.json")


def test_a_lock_that_nobody_holds_is_not_held(tmp_path):
    assert not lock.held(tmp_path / "lock")
    held = lock.Lock(tmp_path / "lock")
    assert lock.held(tmp_path / "lock")
    held.release()
    assert not lock.held(tmp_path / "lock")


def test_every_default_survives_the_way_through_toml(tmp_path):
    defaults = Config(policy=PolicyTable(tiny=TinyTable()))
    (tmp_path / "c.toml").write_text(dumps(defaults))
    assert resolve(tmp_path / "c.toml") == defaults


def test_no_torch_is_loaded():
    code = """
import sys, importlib, pkgutil
import memalpha_trainer.runs as runs, memalpha_trainer.view as view
for room in (runs, view):
    for each in pkgutil.iter_modules(room.__path__, room.__name__ + "."):
        importlib.import_module(each.name)
print(sorted({"torch", "transformers", "matplotlib", "wandb", "trackio"} & sys.modules.keys()))
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(found.stdout.replace("'", '"')) == []
