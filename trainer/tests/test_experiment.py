import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from memalpha.errors import InternalError, InvalidInputError, make
from memalpha.policy.checkpoint import MANIFEST
from memalpha_trainer.config import Config, resolve
from memalpha_trainer.evaluation import Result, Scores
from memalpha_trainer.experiment import cells, page
from memalpha_trainer.experiment import run as runner
from memalpha_trainer.experiment.analysis import Table
from memalpha_trainer.experiment.cells import GREEDY, REJECTION, Cell, Plan
from memalpha_trainer.experiment.lines import CellLine, read_lines
from memalpha_trainer.runs import status
from memalpha_trainer.runs.folder import RunFolder
from memalpha_trainer.runs.reading import RunFiles
from memalpha_trainer.runs.status import Status

STREAMS = tuple(f"s{number}" for number in range(12))


def line(arm: str, scores: list[float], *, warm: str = "w", seed: int = 0) -> CellLine:
    """A cell whose streams have one question each."""
    made = Scores(STREAMS, ("current",) * len(STREAMS), tuple(scores), 10.0, 2.0, 1.0)
    result = Result("1x", 0.0, None, True, {"current": sum(scores) / len(scores)}, made)
    return CellLine(arm, warm, seed, "0" * 64, "2026-11-26T00:00:00+00:00", 1.0, {}, {"1x": result}, [])


def table(*lines: CellLine) -> Table:
    return Table([line("empty", [0.0] * 12), line("oracle", [1.0] * 12), *lines])


def test_a_row_lies_between_the_empty_memory_and_the_oracle() -> None:
    half = Table([line("empty", [0.2] * 12), line("oracle", [0.8] * 12), line(GREEDY, [0.5] * 12)])
    place = half.place(GREEDY, "1x")
    # (0.5 - 0.2) / (0.8 - 0.2), the same in every draw.
    assert place.mean == pytest.approx(0.5)
    assert (place.interval.low, place.interval.high) == pytest.approx((0.5, 0.5))
    assert half.place("oracle", "1x").mean == pytest.approx(1.0)


def test_a_difference_that_every_stream_shows_is_claimed_and_a_mixed_one_is_not() -> None:
    better = table(
        line(GREEDY, [0.0] * 12), line("evidence", [1.0] * 12), line("evidence", [1.0] * 12, seed=1)
    )
    (claim,) = better.claims("1x")
    assert (claim.mean, claim.pairs) == (1.0, 2)
    assert claim.p < 0.05
    mixed = table(line(GREEDY, [0.0, 1.0] * 6), line("evidence", [1.0, 0.0] * 6))
    assert mixed.claims("1x")[0].p > 0.5


def test_seeds_are_paired_with_the_same_seed_of_the_other_arm() -> None:
    paired = table(
        *(line("mem_alpha", [0.25 * seed] * 12, seed=seed) for seed in range(2)),
        *(line("evidence", [0.25 * seed + 0.5] * 12, seed=seed) for seed in range(2)),
    )
    (claim,) = paired.claims("1x")
    # Each seed is better by one half; unpaired, the seeds would make it 0.25 to 0.75.
    assert (claim.interval.low, claim.interval.high) == pytest.approx((0.5, 0.5))


def test_several_claims_cost_more_than_one() -> None:
    """Holm: of two the smaller p is doubled."""
    scores = [1.0] * 8 + [0.0] * 4
    one = table(line(GREEDY, [0.5] * 12), line("evidence", scores)).claims("1x")[0].p
    two = table(line(GREEDY, [0.5] * 12), line(REJECTION, [0.5] * 12), line("evidence", scores)).claims("1x")
    assert [claim.p for claim in two] == pytest.approx([2 * one, 2 * one])


def test_of_a_cell_that_was_run_twice_the_last_line_counts() -> None:
    twice = table(line(GREEDY, [0.0] * 12), line(GREEDY, [1.0] * 12))
    assert len(twice.of(GREEDY)) == 1
    assert twice.place(GREEDY, "1x").mean == 1.0


def test_lines_survive_a_file_and_a_broken_one_is_named(tmp_path: Path) -> None:
    file = tmp_path / "cells.jsonl"
    ours = line("evidence", [0.1] * 12)
    file.write_text(ours.to_json() + "\n")
    assert read_lines(file) == [ours]
    file.write_text(ours.to_json() + "\n" + json.dumps({"arm": "x"}) + "\n")
    with pytest.raises(InvalidInputError, match="line 2"):
        read_lines(file)
    assert read_lines(tmp_path / "none.jsonl") == []


def test_a_plan_runs_one_seed_of_every_arm_before_the_next() -> None:
    plan = Plan(Path("c.toml"), (), Path("out"), (Path("w"),), seeds=2)
    seeds = [cell.seed for cell in plan.cells() if cell.arm in (*plan.arms, REJECTION)]
    assert seeds == [0] * 4 + [1] * 4
    assert len({cell.key for cell in plan.cells()}) == len(list(plan.cells()))
    assert Cell(GREEDY, Path("a/w")).name == "warm-start-greedy-w-0"


@pytest.mark.parametrize(
    ("arms", "overrides", "rule"),
    [
        (("evidense",), (), "arms must be of evidence, mem_alpha"),
        (("evidence",), ("seed=3",), "are the experiment's own"),
        (("evidence",), ("name=x",), "are the experiment's own"),
    ],
)
def test_a_plan_that_would_run_other_cells_is_refused(
    arms: tuple[str, ...], overrides: tuple[str, ...], rule: str
) -> None:
    with pytest.raises(InvalidInputError, match=rule):
        Plan(Path("c.toml"), overrides, Path("out"), (Path("w"),), 1, arms)


def test_lines_of_finished_cells_are_kept_when_another_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_cell(plan: Plan, cell: Cell, note: object) -> CellLine:
        if cell.arm == "empty":
            raise make(InternalError, "CELL_FAILED", "it broke")
        return line(cell.arm, [1.0] * 12, seed=cell.seed)

    monkeypatch.setattr(runner, "run_cell", run_cell)
    file = tmp_path / "cells.jsonl"
    plan = Plan(Path("c.toml"), (), tmp_path, (Path("w"),), seeds=1)
    with pytest.raises(InternalError, match="it broke"):
        runner.run(plan, file, 4, lambda sentence: None)
    # What had begun beside it is there; what had not, was not begun.
    assert "empty" not in {each.arm for each in read_lines(file)}
    assert read_lines(file)


def test_a_line_of_other_settings_is_no_line_of_this_experiment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "cells.jsonl"
    file.write_text(line("empty", [0.0] * 12).to_json() + "\n")
    monkeypatch.setattr(Plan, "config", lambda plan, cell: None)
    monkeypatch.setattr(CellLine, "differs", lambda line, cell, config: "optim.lr")
    with pytest.raises(
        InvalidInputError, match=r"line of empty-w-0 is of another experiment: optim\.lr differs"
    ):
        runner.run(Plan(Path("c.toml"), (), tmp_path, (Path("w"),), 1), file, 1, lambda sentence: None)


def test_tables_replace_what_stood_between_the_markers(tmp_path: Path) -> None:
    file = tmp_path / "pilot.md"
    file.write_text(f"before\n{page.BEGIN}\nold\n{page.END}\nafter\n")
    lines = [line("empty", [0.0] * 12), line("oracle", [1.0] * 12), line("evidence", [0.5] * 12)]
    page.write_page(lines, file)
    text = file.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert "| evidence | 1 | 0.50 (0.50 to 0.50) |" in text
    page.write_page([replace(each, arm=each.arm) for each in lines], file)
    assert file.read_text() == text


def test_a_setting_that_came_later_does_not_make_cells_strangers(tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text("{}")
    cell = Cell(GREEDY, tmp_path, 0)
    config = Config.model_validate({"policy": {"model": tmp_path}})
    made = CellLine.made(cell, config, {}, [], 1.0)
    del made.config["policy"]["batch_invariant"]
    assert not made.differs(cell, config)
    # The control: with another value it is another cell, as it is where a setting is gone.
    made.config["policy"]["batch_invariant"] = False
    assert made.differs(cell, config) == "policy.batch_invariant"
    made.config["policy"] = {"model": tmp_path.name, "was_once": 1}
    assert made.differs(cell, config) == "policy.was_once"


PILOT = Path(__file__).parents[1] / "reports" / "pilot.jsonl"
TINY = Path(__file__).parents[1] / "configs" / "ledger-tiny.toml"
# Of the command in pilot.md.
SETTINGS = (
    *("optim.steps=40", "save.every=10", "eval.first=false", "optim.micro_batches=4"),
    *("eval.streams=20", "eval.units=[1,4,13]"),
)


def pilot_plan(out: Path, monkeypatch: pytest.MonkeyPatch, *more: str) -> Plan:
    """As the pilot's, with a warm start of that name that is another one."""
    (out / "warm0").mkdir(exist_ok=True)
    (out / "warm0" / MANIFEST).write_text("{}")
    pack = f"agent.prompt_pack='{out}/prompt_pack'"
    monkeypatch.setattr(Plan, "config", lambda plan, cell: resolve(TINY, [*plan.settings(cell), pack]))
    return Plan(TINY, (*SETTINGS, *more), out, (out / "warm0",), seeds=2)


def test_the_pilot_can_be_gone_on_with_though_what_decides_nothing_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = {each.key: each for each in read_lines(PILOT)}
    plan = pilot_plan(tmp_path, monkeypatch)
    found = {cell.key: lines[cell.key].differs(cell, plan.config(cell)) for cell in plan.cells()}
    assert found == dict.fromkeys(lines, "the warm start")
    # The control: what decides something is named.
    for setting, key in (("optim.lr=1e-3", "optim.lr"), ("eval.streams=9", "eval.streams")):
        other = pilot_plan(tmp_path, monkeypatch, setting)
        cell = next(other.cells())
        assert lines[cell.key].differs(cell, other.config(cell)) == key


def test_a_finished_run_of_a_cell_is_taken_unless_it_was_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = pilot_plan(tmp_path, monkeypatch)
    cell = next(each for each in plan.cells() if each.arm == "evidence")
    with RunFolder.create(resolve(TINY, [*plan.settings(cell), "log.tracker='wandb'"])) as run:
        run.running(40)
        run.end("done")
    cells._train(plan, cell, plan.config(cell))
    other = pilot_plan(tmp_path, monkeypatch, "optim.lr=1e-3")
    with pytest.raises(InvalidInputError, match=r"had another optim\.lr; choose another --out"):
        cells._train(other, cell, other.config(cell))


def test_a_cell_that_went_on_took_the_time_of_all_its_processes(tmp_path: Path) -> None:
    run = RunFiles(tmp_path)
    # Minutes after twelve. The first process leaves step 2 at 5; what it did until 9 is done again.
    # The second one gets nowhere. The third begins at 30, and ends at 50.
    starts = [
        {"time": f"2026-11-27T12:{at}:00+00:00", "step": step} for at, step in (("00", 0), (20, 2), (30, 2))
    ]
    (tmp_path / "environment.json").write_text(json.dumps({"starts": starts}))
    noon = datetime(2026, 11, 27, 12, tzinfo=UTC).timestamp()
    steps = [{"step": step, "time": noon + 60 * at} for step, at in ((1, 3), (2, 5), (3, 40))]
    run.metrics_file.write_text("".join(f"{json.dumps(each)}\n" for each in steps))
    changed = "2026-11-27T12:50:00+00:00"
    status.write(run.status_file, None, Status("done", 3, 3, 1, starts[-1]["time"], changed))
    assert run.seconds() == 60 * (5 + 20)
