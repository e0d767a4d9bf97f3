"""What looks at runs, serves jobs and counts credit loads no model library."""

import subprocess
import sys

import pytest

LIGHT = (
    *("cli", "config", "credit.rows", "evaluation", "experiment.page", "experiment.run", "heldout", "models"),
    *("records", "rollouts.live", "rollouts.replay", "runs.observer", "runs.report", "scale.plan", "served"),
    *("service", "signals", "tasks", "view.page", "warmstart.gates", "warmstart.trajectories"),
)
HEAVY = {"torch", "transformers", "trl", "accelerate", "peft", "datasets"}


def loaded(*modules: str) -> set[str]:
    """Model libraries that importing these asks for, whether they are installed or not."""
    code = f"""
import importlib, sys
asked = set()
class Recorder:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {HEAVY!r}:
            asked.add(name.partition(".")[0])
sys.meta_path.insert(0, Recorder())
for module in {modules!r}:
    try:
        importlib.import_module("memalpha_trainer." + module)
    except ImportError:
        assert asked, module
print(" ".join(sorted(asked)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_light_parts_load_no_model_library() -> None:
    assert loaded(*LIGHT) == set()


@pytest.mark.parametrize("module", ["session", "weights", "grpo.trainer"])
def test_the_check_notices_the_heavy_ones(module: str) -> None:
    assert "torch" in loaded(module)
