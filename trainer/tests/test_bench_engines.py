"""Training over two engines, compared: what is said of runs that are alike, and of those that are not."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from memalpha.errors import InternalError
from memalpha.tasks.pages import between
from memalpha_trainer.records import ChunkSample, Rollout, Span

sys.path.insert(0, str(Path(__file__).parents[1] / "benches"))

from engines_bench import compare, page, runs

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


def plan(folder: Path) -> runs.Plan:
    return runs.Plan(folder / "no-model", folder / "runs", steps=6, every=2, again=1)


def test_a_run_that_does_not_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(InternalError, match="its log ends with\nerror: ") as caught:
        runs.made(plan(tmp_path), "transformers", lambda line: None)
    assert caught.value.reason == "RUN_FAILED"


def test_a_run_that_is_done_is_read_and_not_made_again(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "transformers"
    folder.mkdir(parents=True)
    status = {"state": "done", "step": 6, "of": 6, "pid": 1, "started": "", "changed": "", "message": ""}
    (folder / "status.json").write_text(json.dumps(status))
    said: list[str] = []
    assert runs.made(plan(tmp_path), "transformers", said.append).path == folder
    assert said == []
