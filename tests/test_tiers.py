"""What `just test` runs: tiers within their budgets, lanes side by side, and nothing after a failure."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TIERS = Path(__file__).parents[1] / ".ci" / "tiers.py"


@pytest.fixture
def run(tmp_path):
    """Runs made tiers, each of name, lane, minutes and command."""

    def run(*tiers, only=()):
        shutil.copy(TIERS, tmp_path)
        lines = []
        for name, lane, minutes, command in tiers:
            lines += ["[[tier]]", f'name = "{name}"', f"minutes = {minutes}", f"command = '''{command}'''"]
            lines += [f'lane = "{lane}"'] if lane else []
        (tmp_path / "budget.toml").write_text("\n".join(lines))
        command = [sys.executable, str(tmp_path / "tiers.py"), *only]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)

    return run


def test_lanes_run_side_by_side_and_each_in_order(run, tmp_path) -> None:
    # Each of the first two waits for the other; the third finds what the first left.
    waits = "for _ in $(seq 500); do test -e {} && exit 0; sleep 0.1; done; exit 1"
    found = run(
        ("build", "", 1, "touch built"),
        ("one", "x", 2, f"touch one; {waits.format('two')}"),
        ("two", "y", 2, f"test -e built && touch two; {waits.format('one')}"),
        ("three", "x", 1, "test -e one && echo said by three"),
    )
    assert found.returncode == 0, found.stdout
    assert found.stdout.count("  ok") >= 4
    assert "three  | said by three" in found.stdout


def test_a_tier_that_fails_ends_those_beside_it_and_nothing_comes_after(run, tmp_path) -> None:
    found = run(
        ("long", "x", 2, "sleep 90"),
        ("bad", "y", 1, "exit 3"),
        ("after", "", 1, "touch after"),
    )
    assert found.returncode == 1
    assert "failed with exit code 3" in found.stdout
    assert "ended with the others" in found.stdout
    assert not (tmp_path / "after").exists()


def test_a_tier_is_ended_at_the_end_of_its_budget(run) -> None:
    found = run(("slow", "", 0.005, "sleep 90"))
    assert found.returncode == 1
    assert "over budget" in found.stdout


def test_only_named_tiers_are_run_and_an_unknown_one_is_refused(run, tmp_path) -> None:
    tiers = (("one", "", 1, "touch one"), ("two", "", 1, "touch two"))
    assert run(*tiers, only=["two"]).returncode == 0
    assert not (tmp_path / "one").exists()
    refused = run(*tiers, only=["three"])
    assert refused.returncode == 2
    assert "the tiers are one, two" in refused.stderr
