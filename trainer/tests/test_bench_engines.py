"""Training over two engines, compared: what is said of runs that are alike, and of those that are not."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from memalpha.errors import BusyError, ConflictError, InternalError, InvalidInputError
from memalpha.policy.checkpoint import MANIFEST
from memalpha.tasks.pages import between
from memalpha_trainer.config import resolve
from memalpha_trainer.records import ChunkSample, Rollout, Span
from memalpha_trainer.runs import lock
from memalpha_trainer.runs.reading import RunFiles

sys.path.insert(0, str(Path(__file__).parents[1] / "benches"))

import engines
from engines_bench import compare, page, plan, runs

WAVE = (0.02, -0.01, 0.01, -0.02, 0.015, -0.015)


def lines(*, reward: float = 0.44, tokens: float = 3700.0, steps: int = 6) -> list[dict]:
    """A run's metrics, which go up and down by `WAVE` around their means."""
    return [
        {"step": step + 1, "reward/total": reward + WAVE[step], "rows/tokens": tokens * (1 + WAVE[step])}
        | {"mismatch/max": (1 + step) * 1e-6}
        for step in range(steps)
    ]


def rollout(step: int, *written: tuple[int, ...], index: int = 0) -> Rollout:
    samples = tuple(
        ChunkSample(chunk, "", "", (1,), ids, (-1.0,) * len(ids), (Span(1, len(ids)),), 0, True)
        for chunk, ids in enumerate(written)
    )
    return Rollout(step, 0, index, "ledger", "ledger", samples, (), 0, 0)


def found(**changes) -> page.Found:
    given = page.Found(
        tuple(compare.curves(lines(), lines(reward=0.43))),
        {"vllm": 7e-5, "transformers": 2e-5},
        {"vllm": (1.0, 7000), "transformers": (1.0, 7000)},
        {"vllm": (9.0, 5.0), "transformers": (6.0, 5.0)},
    )
    return replace(given, **changes)


def test_curves_are_compared_step_by_step() -> None:
    reward, tokens = compare.curves(lines(), lines(reward=0.43, tokens=3600.0))
    # The same waves on both: every step differs by 0.01, and so does the whole interval.
    assert (reward.difference, reward.low, reward.high) == pytest.approx((0.01, 0.01, 0.01))
    assert reward.allowed == 0.04
    # A tenth of the other run's mean, whose waves sum to nothing.
    assert tokens.allowed == pytest.approx(360.0)
    assert reward.holds
    assert tokens.holds


@pytest.mark.parametrize(("reward", "tokens", "broken"), [(0.38, 3700.0, 0), (0.44, 4200.0, 1)])
def test_curves_that_are_others_do_not_hold(reward, tokens, broken) -> None:
    compared = compare.curves(lines(reward=reward, tokens=tokens), lines())
    assert [each.holds for each in compared] == [place != broken for place in range(2)]


def test_a_difference_that_is_not_known_well_enough_does_not_hold() -> None:
    noisy = [line | {"reward/total": 0.44 + 10 * wave} for line, wave in zip(lines(), WAVE, strict=True)]
    reward = compare.curves(noisy, lines())[0]
    assert abs(reward.difference) < reward.allowed
    assert not reward.holds


@pytest.mark.parametrize(("steps", "said"), [(4, "too few"), (5, "the same steps")])
def test_runs_that_cannot_be_compared_are_refused(steps, said) -> None:
    with pytest.raises(ValueError, match=said):
        compare.curves(lines(steps=steps), lines(steps=4))


def test_the_largest_mismatch_is_that_of_the_worst_step() -> None:
    assert compare.largest_mismatch(lines()) == pytest.approx(6e-6)


def test_a_reward_that_is_no_number_is_named() -> None:
    steps = lines()
    steps[2]["reward/total"] = None
    with pytest.raises(ValueError, match="reward/total is no number in some step"):
        compare.curves(steps, lines())


@pytest.mark.parametrize("place", [0, 5], ids=["first", "last"])
def test_a_mismatch_that_is_no_number_is_beyond_what_is_allowed(place) -> None:
    steps = lines()
    steps[place]["mismatch/max"] = None  # as a run's file says it of what is no number
    # `max` alone would keep it where it comes first, and it is beyond no bound; and drop it elsewhere.
    assert found(mismatch={"vllm": compare.largest_mismatch(steps)}).broken() == ["vllm: mismatch inf"]


def test_ids_are_equal_place_by_place() -> None:
    ours = [rollout(4, (9, 9)), rollout(5, (1, 2, 3), (4, 5)), rollout(6, (6,), index=1)]
    theirs = [rollout(4, (8, 8)), rollout(5, (1, 7, 3), (4, 5, 6))]
    # Steps 5 and 6: two of three, two of three (one is missing), none of one (the rollout is missing).
    assert compare.equal_share(ours, theirs, range(5, 7)) == (pytest.approx(4 / 7), 7)
    assert compare.equal_share(ours, ours, range(5, 7)) == (1.0, 6)
    assert compare.equal_share([], [], range(5, 7)) == (0.0, 0)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"mismatch": {"vllm": 2e-3}}, "vllm: mismatch 0.002"),
        ({"equal": {"vllm": (0.998, 7000)}}, "vllm: 99.8000% of ids"),
        ({"curves": tuple(compare.curves(lines(reward=0.5), lines()))}, "reward/total: interval beyond 0.04"),
    ],
)
def test_what_is_not_as_it_must_be_is_said(changes, said) -> None:
    assert found().broken() == []
    assert [fault[: len(said)] for fault in found(**changes).broken()] == [said]


def test_tables_say_what_was_found() -> None:
    text = page.tables(found())
    assert "| `reward/total` | 0.440 | 0.430 | +0.010 (+0.010 to +0.010) | ±0.040 |" in text
    assert "7.0e-05 (`vllm`)" in text
    assert "100.000% of 7,000 (`transformers`)" in text


def test_the_page_of_the_documentation_has_the_markers() -> None:
    text = (page.DOCS / "policy.md").read_text("utf-8")
    assert between(text, page.BEGIN, page.END, "new") != text


def test_what_is_not_as_it_must_be_is_marked_in_the_tables() -> None:
    assert "MISSED" not in page.tables(found())
    curves = tuple(compare.curves(lines(reward=0.5), lines()))
    text = page.tables(found(curves=curves, mismatch={"vllm": 2e-3}, equal={"vllm": (0.998, 7000)}))
    assert "| ±0.040 MISSED |" in text
    assert "2.0e-03 (`vllm`) MISSED" in text
    assert "99.800% of 7,000 (`vllm`) MISSED" in text


def a_plan(folder: Path, **changes) -> plan.Plan:
    """A plan of a checkpoint that is no more than its seal."""
    model = folder / "model"
    model.mkdir(exist_ok=True)
    (model / MANIFEST).write_text("one")
    return replace(plan.Plan(model, folder / "runs", steps=6, every=2, again=1), **changes)


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"steps": 4}, "steps must be at least 5"),
        ({"again": 0}, "again must be at least 1 and below every"),
        # A second checkpoint would come before the kill, and nothing of these steps be written again.
        ({"again": 2}, "again must be at least 1 and below every"),
        ({"every": 5}, "every \\+ again must be below steps"),
    ],
)
def test_a_plan_that_compares_nothing_is_refused(tmp_path: Path, changes, rule) -> None:
    with pytest.raises(InvalidInputError, match=rule):
        a_plan(tmp_path, **changes)


def test_a_folder_of_runs_is_of_one_plan(tmp_path: Path) -> None:
    a_plan(tmp_path).claim()
    a_plan(tmp_path).claim()
    for changes in ({"steps": 7}, {"every": 3}, {"more": ("seed=1",)}):
        with pytest.raises(ConflictError, match=r"holds runs with .*choose another --out"):
            a_plan(tmp_path, **changes).claim()
    given = a_plan(tmp_path)
    (given.model / MANIFEST).write_text("another")
    with pytest.raises(ConflictError, match="holds runs with model"):
        given.claim()


def test_a_folder_of_runs_is_of_one_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_plan(tmp_path).claim()
    file = tmp_path / "ledger-tiny.toml"
    monkeypatch.setattr(plan, "CONFIG", file)
    file.write_bytes((Path(__file__).parents[1] / "configs" / "ledger-tiny.toml").read_bytes())
    a_plan(tmp_path).claim()
    file.write_text(file.read_text() + "\n[rollouts]\ngroups = 2\n")
    with pytest.raises(ConflictError, match="holds runs with config "):
        a_plan(tmp_path).claim()


def test_a_run_that_is_in_work_is_neither_removed_nor_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def started(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(runs, "_started", started)
    given = a_plan(tmp_path)
    folder = given.out / "vllm"
    folder.mkdir(parents=True)
    held = lock.Lock(folder / "lock")
    with pytest.raises(BusyError, match="is in use"):
        runs.made(given, "vllm", lambda line: None)
    assert (folder / "lock").exists()
    held.release()
    # The control: without somebody there it is made anew.
    with pytest.raises(AssertionError):
        runs.made(given, "vllm", lambda line: None)
    assert not folder.exists()


def test_a_folder_of_unknown_runs_is_refused(tmp_path: Path) -> None:
    (tmp_path / "runs" / "vllm").mkdir(parents=True)
    with pytest.raises(ConflictError, match=r"holds other things and no plan\.json"):
        a_plan(tmp_path).claim()


def test_a_model_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"--model must be a sealed checkpoint"):
        a_plan(tmp_path, model=tmp_path).claim()


def test_seconds_are_those_of_steps_without_a_start(tmp_path: Path) -> None:
    run = RunFiles(tmp_path)
    # Started anew, and again after step 2: steps 1 and 3 load things.
    (tmp_path / "environment.json").write_text(json.dumps({"starts": [{"step": 0}, {"step": 2}]}))
    spent = [50.0, 1.0, 70.0, 3.0]
    numbers = [
        {"step": step, "seconds/collect": each, "seconds/train": 2 * each}
        for step, each in enumerate(spent, 1)
    ]
    run.metrics_file.write_text("".join(json.dumps(each) + "\n" for each in numbers))
    assert engines._seconds(run) == (2.0, 4.0)


def test_a_process_does_not_outlive_whoever_waits_for_its_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(runs.time, "sleep", interrupt)
    process = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    with pytest.raises(KeyboardInterrupt):
        runs._kill(process, RunFiles(tmp_path), 1)
    assert process.returncode == -9


def test_a_run_that_does_not_start_says_why(tmp_path: Path) -> None:
    given = a_plan(tmp_path)
    given.claim()
    with pytest.raises(InternalError, match="its log ends with\nerror: ") as caught:
        runs.made(given, "transformers", lambda line: None)
    assert caught.value.reason == "RUN_FAILED"


def test_a_run_that_was_not_killed_where_it_should_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, asked = a_plan(tmp_path), list[tuple[str, ...]]()

    def begin(plan: plan.Plan, engine: str, run: RunFiles, *more: str) -> None:
        asked.append(more)
        run.path.mkdir(exist_ok="--resume" in more)
        run.rollouts_file.write_text("the first half")

    monkeypatch.setattr(runs, "_started", begin)
    monkeypatch.setattr(runs, "_kill", lambda process, run, step: None)
    monkeypatch.setattr(runs, "_end", lambda process, run: None)
    (given.out / "vllm").mkdir(parents=True)
    run, _ = (runs.made(given, "vllm", lambda line: None) for _ in range(2))
    assert runs._kept(run).read_text() == "the first half"
    # What was kept is not made again.
    assert asked == [(), ("--resume",), ("--resume",)]


def test_paths_with_quotes_reach_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []
    monkeypatch.setattr(runs.subprocess, "Popen", lambda command, **more: seen.append(command))
    folder = tmp_path / 'it\'s "here" \\ ü 😀'
    folder.mkdir()
    given = a_plan(folder)
    given.claim()
    runs._started(given, "vllm", RunFiles(given.out / "vllm"))
    (command,) = seen
    settings = [each for each in command[command.index("--config") + 2 :] if each != "--resume"]
    made = resolve(None, settings)
    assert (made.policy.model, made.folder) == (given.model.resolve(), given.out.resolve() / "vllm")


def test_a_run_that_is_done_is_read_and_not_made_again(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "transformers"
    folder.mkdir(parents=True)
    status = {"state": "done", "step": 6, "of": 6, "pid": 1, "started": "", "changed": "", "message": ""}
    (folder / "status.json").write_text(json.dumps(status))
    said: list[str] = []
    assert runs.made(a_plan(tmp_path), "transformers", said.append).path == folder
    assert said == []
