"""What looks at runs, serves jobs and counts credit loads no model library."""

import json
import subprocess
import sys

LIGHT = (
    *("asked", "cli", "config", "credit.rows", "evaluation", "experiment.page", "experiment.run", "heldout"),
    *("models", "records", "rollouts.live", "rollouts.replay", "running", "runs.observer", "runs.report"),
    *("runs.trackers", "scale.plan", "served", "service", "signals", "tasks", "view.page", "warmstart.gates"),
    *("warmstart.trajectories",),
)
HEAVY = ("session", "weights", "grpo.trainer")
LIBRARIES = {"torch", "transformers", "trl", "accelerate", "peft", "datasets"}
# None of the libraries is to be had, whether it is installed or not: to be asked for it is enough.
PROGRAM = f"""
import importlib, json, sys

class Recorder:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {LIBRARIES!r}:
            asked.add(name)
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Recorder())
found = {{}}
for module in sys.argv[1:]:
    asked = set()
    try:
        importlib.import_module("memalpha_trainer." + module)
    except ModuleNotFoundError as error:
        assert asked, error
    found[module] = sorted(asked)
print(json.dumps(found))
"""


def asked(*modules: str) -> dict[str, list[str]]:
    """Of each, the first model libraries that importing it asks for."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *modules], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def test_the_light_parts_load_no_model_library() -> None:
    assert asked(*LIGHT) == {module: [] for module in LIGHT}


def test_the_check_notices_the_heavy_ones() -> None:
    found = asked(*HEAVY)
    assert all("torch" in found[module] for module in HEAVY), found
