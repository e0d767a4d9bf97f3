"""What people and trackers see of a run, and the observer between the trainer and the run's folder."""

import io
import json
import os
import sqlite3
import sys
from contextlib import closing
from types import SimpleNamespace

import pytest
from rich.console import Console

from memalpha.errors import UnsupportedError
from memalpha_trainer.config import resolve
from memalpha_trainer.credit.rows import rows
from memalpha_trainer.records import Answered, ChunkSample, Operation, Rollout, Span
from memalpha_trainer.runs import columns, live
from memalpha_trainer.runs.folder import RunFolder
from memalpha_trainer.runs.live import Progress
from memalpha_trainer.runs.observer import RunObserver
from memalpha_trainer.runs.reading import finite
from memalpha_trainer.runs.trackers import NoTracker, Told, catch_up, open_tracker


def config(tmp_path, *overrides):
    return resolve(None, [f'out="{tmp_path}"', "name=a", "policy.model=m", "optim.steps=4", *overrides])


def a_line(step, **numbers):
    return {"step": step, "reward/total": step / 10, "seconds/step": 30.0, "ops/insert": 1.5, **numbers}


def screen(*, terminal, width=120):
    out = io.StringIO()
    console = Console(
        file=out,
        force_terminal=terminal,
        width=width,
        soft_wrap=not terminal,
        markup=False,
        color_system=None,
    )
    return out, console


# the live table


def test_without_a_terminal_each_step_is_one_line():
    out, console = screen(terminal=False)
    with Progress(10, console=console) as progress:
        for done in range(3):
            progress.phase("writing rollouts", done, 48)
        progress.step(a_line(1))
        progress.phase("writing rollouts", 0, 48)
        progress.step(a_line(2))
    # nine steps of 30 s are left after the first, eight after the second
    assert out.getvalue().splitlines() == [
        "writing rollouts: 0 of 48",
        "step 1/10  reward 0.100  ins 1.50  left 4m 30s",
        "step 2/10  reward 0.200  ins 1.50  left 4m 00s",
    ]


def test_on_a_terminal_there_is_a_table_with_a_mean_and_the_phase():
    out, console = screen(terminal=True)
    with Progress(10, console=console) as progress:
        for step in (1, 2):
            progress.step(a_line(step))
        progress.phase("writing rollouts", 3, 48)
        progress._live.refresh()
    shown = out.getvalue()
    for words in (
        "about 4m 00s left",
        "reward",
        "1/10",
        "0.200",
        "mean of 2",
        "0.150",
        "writing rollouts: 3 of 48",
    ):
        assert words in shown
    assert "write s" not in shown  # no step had it


def test_a_quiet_run_says_notes_and_nothing_else():
    for terminal in (True, False):
        out, console = screen(terminal=terminal)
        with Progress(10, quiet=True, console=console) as progress:
            progress.phase("writing rollouts")
            progress.step(a_line(1))
            progress.note("wandb failed\x1b[2J")
        assert "wandb failed\\x1b[2J" in out.getvalue()
        assert "reward" not in out.getvalue()
        assert "writing" not in out.getvalue()


def test_a_narrow_table_keeps_what_matters_most():
    line = {"step": 1} | {column.key: 1.0 for column in columns.COLUMNS}
    assert len(columns.shown([line], 500)) == len(columns.COLUMNS)
    # 14 for the step, then 6+2, 7+2, 5+2: the next would not fit into 40
    assert [each.head for each in columns.shown([line], 40)] == ["reward", "answers", "calls"]
    for width in range(25, 200, 7):
        out, console = screen(terminal=True, width=width)
        console.print(live.table([line, line], 4, width))
        assert "…" not in out.getvalue()


def test_missing_numbers_are_dashes_and_no_estimate_is_made_of_them():
    line = {"step": 1, "reward/total": None, "reward/qa": 0.5}
    assert live.plain(line, [line], 10) == "step 1/10  answers 0.500"
    out, console = screen(terminal=True)
    console.print(live.table([line, a_line(2)], 10, 120))
    assert "–" in out.getvalue()


@pytest.mark.parametrize(
    ("value", "cell"),
    [(None, "–"), (0.0, "0.00"), (0.004, "4e-03"), (-2e-7, "-2e-07"), (0.005, "0.01"), (1.0, "1.00")],
)
def test_a_small_number_is_not_shown_as_zero(value, cell):
    assert columns.Column("k", "h", 2, 0).cell(value) == cell


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0s"), (59.6, "1m 00s"), (200, "3m 20s"), (7500, "2h 05m"), (360_000, "100h 00m")],
)
def test_durations_have_two_units_at_most(seconds, words):
    assert columns.duration(seconds) == words


# trackers


def told(tmp_path):
    return Told("a-0123abcd", tmp_path / "trackers.json")


def notes():
    said = []
    return said, said.append


def test_no_tracker_loads_nothing(tmp_path, monkeypatch):
    said, note = notes()
    for name in ("trackio", "wandb", "tensorboard"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    tracker = open_tracker(config(tmp_path, "log.tracker=none"), told(tmp_path), note)
    tracker.log(1, {"a": 1.0})
    tracker.close()
    assert not said
    assert not {"trackio", "wandb", "tensorboard"} & sys.modules.keys()


@pytest.mark.parametrize("name", ["trackio", "tensorboard", "wandb"])
def test_a_tracker_that_is_not_installed_says_what_to_install(tmp_path, monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UnsupportedError, match=rf"install memalpha-trainer\[{name}\]") as caught:
        open_tracker(config(tmp_path, f"log.tracker={name}"), told(tmp_path), lambda sentence: None)
    assert caught.value.reason == "TRACKER_NOT_INSTALLED"


def a_trackio(calls):
    """Keeps what it is asked, and prints as trackio does."""

    def call(name, *given):
        calls.append((name, *given))
        print(f"* {name}")

    return SimpleNamespace(
        init=lambda **options: call("init", *(options[each] for each in ("project", "name", "auto_log_cpu"))),
        log=lambda numbers, step: calls.append(("log", step, numbers)),
        finish=lambda: call("finish"),
    )


@pytest.mark.parametrize("chosen", ["trackio", "auto"])
def test_numbers_reach_the_tracker_that_was_chosen_and_trackio_if_none_was(
    tmp_path, monkeypatch, capsys, chosen
):
    assert config(tmp_path).log.tracker == "auto"
    calls = []
    monkeypatch.setitem(sys.modules, "trackio", a_trackio(calls))
    settings = config(tmp_path, f"log.tracker={chosen}", "log.project=p")
    tracker = open_tracker(settings, told(tmp_path), lambda sentence: None)
    tracker.log(3, {"reward/total": 0.5})
    tracker.close()
    assert calls == [("init", "p", "a-0123abcd", False), ("log", 3, {"reward/total": 0.5}), ("finish",)]
    assert not capsys.readouterr().out


def test_a_tracker_hears_of_each_step_once_whether_it_was_away_or_steps_are_done_again(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setitem(sys.modules, "trackio", a_trackio(calls))
    lines = [a_line(step, time=9.0, why="none", loss=None) for step in range(1, 7)]

    def hears(known, steps, tracker="trackio"):
        """Of a start: what the folder has by then, and the steps that are done."""
        del calls[:]
        opened = open_tracker(config(tmp_path, f"log.tracker={tracker}"), told(tmp_path), pytest.fail)
        catch_up(opened, lines[:known])
        for line in lines[known:steps]:
            opened.log(line["step"], finite(line))
        opened.close()
        return [call for call in calls if call[0] == "log"]

    assert [step for _, step, _ in hears(0, 3)] == [1, 2, 3]
    # Killed after step 3, it goes on from step 2 and comes to 4; step 3 was told.
    assert [step for _, step, _ in hears(2, 4)] == [4]
    # Without it the run comes to 6, and is resumed from 5.
    assert hears(4, 6, "none") == []
    numbers = {"seconds/step": 30.0, "ops/insert": 1.5}
    assert hears(5, 6) == [("log", step, {"reward/total": step / 10, **numbers}) for step in (5, 6)]


@pytest.mark.parametrize("left", [b"", b'{"trackio": 2', b"\xff", b"[2]"])
def test_how_far_a_tracker_was_told_is_durable_and_nothing_where_it_cannot_be_read(
    tmp_path, monkeypatch, left
):
    known, synced = told(tmp_path), []
    monkeypatch.setattr(os, "fsync", synced.append)
    known.keep("trackio", 2)
    assert known.last("trackio") == 2
    assert len(synced) == 2  # the file, and its name
    known.file.write_bytes(left)
    assert known.last("trackio") == 0
    known.keep("trackio", 3)
    assert known.last("trackio") == 3


@pytest.mark.parametrize("name", ["TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL"])
def test_numbers_leave_the_machine_only_where_trackio_was_chosen(tmp_path, monkeypatch, name):
    calls = []
    monkeypatch.setitem(sys.modules, "trackio", a_trackio(calls))
    monkeypatch.setenv(name, "somebody/somewhere")
    said, note = notes()
    open_tracker(config(tmp_path), told(tmp_path), note).log(1, {})
    assert not calls
    assert said == [
        f"numbers are in the run's folder alone: {name} is set, and they leave this machine with"
        " log.tracker=trackio alone"
    ]
    # The control: who chose it gets it.
    open_tracker(config(tmp_path, "log.tracker=trackio"), told(tmp_path), pytest.fail).log(1, {})
    assert [call for call, *_ in calls] == ["init", "log"]


def test_wandb_knows_a_run_by_its_id_and_shows_its_name(tmp_path, monkeypatch):
    asked = []
    wandb = SimpleNamespace(init=lambda **options: asked.append((options["name"], options["id"])))
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    open_tracker(config(tmp_path, "log.tracker=wandb"), told(tmp_path), pytest.fail)
    assert asked == [("a", "a-0123abcd")]


def broken_init(**options):
    raise OSError("no space left")


@pytest.mark.parametrize(
    ("trackio", "why"),
    [
        (None, "install memalpha-trainer[trackio]"),
        (SimpleNamespace(init=broken_init), "no space left"),
    ],
)
def test_a_run_goes_on_without_a_tracker_that_nobody_chose(tmp_path, monkeypatch, trackio, why):
    monkeypatch.setitem(sys.modules, "trackio", trackio)
    said, note = notes()
    tracker = open_tracker(config(tmp_path), told(tmp_path), note)
    tracker.log(1, {"a": 1.0})
    tracker.close()
    (sentence,) = said
    assert sentence.startswith("numbers are in the run's folder alone: ")
    assert why in sentence
    # The control: one that was chosen has to be there.
    with pytest.raises((UnsupportedError, OSError)):
        open_tracker(config(tmp_path, "log.tracker=trackio"), told(tmp_path), note)


def test_tensorboard_reads_the_numbers_that_were_logged(tmp_path):
    pytest.importorskip("tensorboard", reason="needs memalpha-trainer[tensorboard]")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    settings = config(tmp_path, "log.tracker=tensorboard")
    tracker = open_tracker(settings, told(tmp_path), pytest.fail)
    for step, reward in ((1, 0.25), (2, 0.5)):
        tracker.log(step, {"reward/total": reward})
    tracker.close()
    found = EventAccumulator(str(settings.folder / "tensorboard")).Reload()
    read = [(each.step, float(make_ndarray(each.tensor_proto))) for each in found.Tensors("reward/total")]
    assert read == [(1, 0.25), (2, 0.5)]


def test_trackio_keeps_the_numbers_that_were_logged_on_this_machine(tmp_path, monkeypatch, capfd):
    # It reads its place when it is loaded.
    for name in [each for each in sys.modules if each.partition(".")[0] == "trackio"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    pytest.importorskip("trackio", reason="needs memalpha-trainer[trackio]")
    # A run that was killed after step 3, and goes on from step 2.
    for steps in ((3,), (3, 4)):
        tracker = open_tracker(config(tmp_path, "log.project=p"), told(tmp_path), pytest.fail)
        for step in steps:
            tracker.log(step, {"reward/total": step / 10})
        tracker.close()
    with closing(sqlite3.connect(tmp_path / "trackio" / "p.db")) as kept:
        rows = kept.execute("select run_name, step, metrics from metrics order by step").fetchall()
        system = kept.execute("select count(*) from system_metrics").fetchone()
    assert [(name, step, json.loads(numbers)) for name, step, numbers in rows] == [
        ("a-0123abcd", 3, {"reward/total": 0.3}),
        ("a-0123abcd", 4, {"reward/total": 0.4}),
    ]
    assert system == (0,)
    assert not capfd.readouterr().out


def test_a_tracker_that_fails_is_given_up_with_a_note_and_the_run_goes_on(tmp_path, monkeypatch):
    tried = []

    def log(numbers, step):
        tried.append(step)
        raise RuntimeError("the disk is full")

    broken = SimpleNamespace(init=lambda **options: SimpleNamespace(log=log, finish=lambda: None))
    monkeypatch.setitem(sys.modules, "wandb", broken)
    said, note = notes()
    tracker = open_tracker(config(tmp_path, "log.tracker=wandb"), told(tmp_path), note)
    for step in (1, 2):
        tracker.log(step, {"a": 1.0})
    tracker.close()
    assert tried == [1]
    assert said == ["wandb failed and is no longer used: RuntimeError: the disk is full"]


# the observer


def a_rollout(index, score, *, step=0, version=1, finished=True, retried=False):
    """Reads two chunks, the first perhaps twice; has one answer."""
    chunks = (0, 0, 1) if retried else (0, 1)
    samples = tuple(
        ChunkSample(
            chunk=chunk,
            prompt="p",
            text="t",
            prompt_ids=(1,),
            completion_ids=(2, 3, 4) if place else (2, 3),
            logprobs=(-1.0,) * (3 if place else 2),
            versions=(Span(version, 3 if place else 2),),
            seed=1,
            finished=finished or bool(place),
            operations=(Operation("insert", "semantic", 1, "x"),),
            failure="again" if retried and not place else "",
        )
        for place, chunk in enumerate(chunks)
    )
    answer = Answered("q", "current", "strict", ("a",), (0,), False, "a", score)
    return Rollout(step, 0, index, "i", "ledger", samples, (answer,), 4, 10)


class Recorder(NoTracker):
    def __init__(self):
        self.told = []

    def log(self, step, numbers):
        self.told.append((step, dict(numbers)))


def observed(tmp_path, rollouts, scored, *overrides, version=None):
    """One collection and one step; the run's files and what the tracker was told."""
    settings = config(tmp_path, "credit.mode=trajectory", *overrides)
    recorder = Recorder()
    _, console = screen(terminal=False)
    with RunFolder.create(settings) as folder, Progress(4, console=console) as progress:
        observer = RunObserver(folder, progress, recorder)
        observer.collected(0, rollouts, rows(rollouts, settings, 0, version=version))
        observer.scored(0, scored)
        observer.stepped(1, {"seconds/collect": 2.0, "seconds/train": 0.5, "loss": float("nan")})
        folder.end("stopped")
    return folder, recorder.told


def test_a_step_leaves_rollouts_credit_numbers_and_a_status(tmp_path):
    rollouts = [a_rollout(0, 1.0), a_rollout(1, 0.0)]
    run, told = observed(tmp_path, rollouts, {(0, 0, 1): [-1.1, -1.2, -1.3]})
    assert list(run.rollouts(0)) == rollouts
    best, worst = run.credits(0)
    # 1.0 of the answer, 0.1 for calls that all were carried out, 0.05 * (1 - 4 / 10)
    assert best.reward == pytest.approx(1.13)
    assert worst.reward == pytest.approx(0.13)
    assert best.samples[1].trainer_logprobs == (-1.1, -1.2, -1.3)
    assert best.samples[0].trainer_logprobs == worst.samples[1].trainer_logprobs == ()
    assert best.samples[0].advantage > 0 > worst.samples[0].advantage
    (line,) = run.metrics()
    assert line["seconds/step"] == 2.5
    assert line["tokens/per_second"] == 5  # ten tokens in two seconds
    assert line["reward/qa"] == 0.5
    assert line["loss"] is None
    ((step, numbers),) = told
    assert step == 1
    assert "loss" not in numbers
    assert "time" not in numbers
    assert run.status().step == 1


def test_each_try_of_a_chunk_has_logprobs_of_its_own(tmp_path):
    scored = {(0, 0, 0): [-7.0] * 2, (0, 0, 1): [-8.0] * 3, (0, 0, 2): [-9.0] * 3}
    run, _ = observed(tmp_path, [a_rollout(0, 1.0, retried=True), a_rollout(1, 0.0)], scored)
    found = [each.trainer_logprobs for each in next(run.credits(0)).samples]
    assert found == [(-7.0,) * 2, (-8.0,) * 3, (-9.0,) * 3]


def test_what_was_not_trained_on_says_why(tmp_path):
    rollouts = [a_rollout(0, 1.0, finished=False), a_rollout(1, 0.0)]
    run, _ = observed(tmp_path, rollouts, {}, "credit.truncated=mask")
    assert [each.why for each in next(run.credits(0)).samples] == ["truncated", ""]


def test_stale_rollouts_are_kept_and_marked(tmp_path):
    rollouts = [a_rollout(0, 1.0, version=1), a_rollout(1, 0.0, version=5)]
    run, _ = observed(tmp_path, rollouts, {}, version=5)
    assert [each.dropped for each in run.credits(0)] == ["stale", "stale"]
    assert list(run.rollouts(0)) == rollouts
    assert run.metrics()[0]["rows/dropped_stale"] == 4


def test_credit_of_exchanged_rewards_has_one_entry_for_each_sample(tmp_path):
    rollouts, best = [a_rollout(0, 1.0, retried=True), a_rollout(1, 0.0)], set()
    for seed in range(8):
        run, _ = observed(tmp_path / str(seed), rollouts, {}, "rewards.shuffled=true", f"seed={seed}")
        found = list(run.credits(0))
        assert [len(each.samples) for each in found] == [3, 2]
        best.add(found[0].reward > found[1].reward)
    assert best == {True, False}  # some were exchanged


def test_every_line_of_the_folder_is_json_that_other_programs_read(tmp_path):
    run, _ = observed(tmp_path, [a_rollout(0, 1.0), a_rollout(1, 0.0)], {})

    def refuse(constant):
        raise ValueError(constant)

    for path in (run.metrics_file, run.rollouts_file, run.credit_file):
        for line in path.read_text().splitlines():
            json.loads(line, parse_constant=refuse)
