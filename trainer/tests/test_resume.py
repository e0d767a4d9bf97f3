"""A run that was killed and resumed against one that was left alone, down to the last bit."""

import json
import os
import signal
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="needs torch: uv sync --group train")
pytest.importorskip("trl")

import torch

from memalpha.errors import NotFoundError, UnsupportedError
from memalpha_trainer.grpo.arguments import training_arguments
from memalpha_trainer.grpo.resume import MARK, latest, mark, prune, step_of
from memalpha_trainer.rollouts.replay import ReplayRollouts
from memalpha_trainer.weights import WeightFolders

from .grpo_support import Made, checkpoint, configured, digest, rollouts
from .grpo_trainers import trainer

# Trains six steps, and is killed in the fifth, two after its checkpoint.
KILLED = """
import os, signal, sys
from pathlib import Path
from tests.grpo_support import Made, configured
from tests.test_resume import run

class Deadly(Made):
    def collect(self, step):
        if step == 4:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().collect(step)

run(Path(sys.argv[1]), Path(sys.argv[2]), Deadly())
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(tmp_path_factory.mktemp("model") / "tiny", layers=1)


def run(folder: Path, out: Path, source: Any, *, resume: bool = False, **optim: object) -> Any:
    config = configured(
        folder, out, optim={"steps": 6, "schedule": "linear"} | optim, save={"every": 3, "keep": 0}
    )
    torch.set_num_threads(1)
    made = trainer(config, source=source, folders=WeightFolders(config.folder / "weights", folder, keep=0))
    found = latest(config.folder / "checkpoints", 1)
    assert (found is not None) == resume
    made.train(resume_from_checkpoint=str(found) if found else None)
    made.publish()
    return made


def everything(made: Any) -> dict[str, str]:
    """Digests of weights, optimizer, schedule, random states, and of the weights as they were served."""
    root = Path(made.args.output_dir)
    saved = root / f"checkpoint-{made.state.global_step}"
    parts = {
        name: torch.load(saved / name, weights_only=False)
        for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth")
    }
    served = root.parent / "weights" / "v000007" / "model.safetensors"
    return {name: digest(part) for name, part in parts.items()} | {
        "weights": digest(made.model.state_dict()),
        "served": sha256(served.read_bytes()).hexdigest(),
    }


@pytest.mark.timeout(900)
def test_a_run_that_was_killed_ends_at_the_bits_of_one_that_was_not(folder: Path, tmp_path: Path) -> None:
    root = Path(__file__).parent.parent
    environment = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", KILLED, str(folder), str(tmp_path / "killed")]
    ended = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    whole, rest = Made(), Made()
    undisturbed = run(folder, tmp_path / "whole", whole)
    resumed = run(folder, tmp_path / "killed", rest, resume=True)
    assert everything(resumed) == everything(undisturbed)
    assert (whole.asked, rest.asked) == ([0, 1, 2, 3, 4, 5], [3, 4, 5])
    assert [each.version for each in rest.published] == [4, 5, 6, 7]


@pytest.mark.parametrize("optim", [{}, {"lora_rank": 2}], ids=["whole", "adapter"])
def test_replayed_rollouts_resume_to_the_same_bits(folder: Path, tmp_path: Path, optim: Any) -> None:
    made = [each for step in range(6) for each in rollouts(step, version=step + 1)]
    undisturbed = run(folder, tmp_path / "whole", ReplayRollouts(made), **optim)
    with pytest.raises(NotFoundError, match="no rollouts of step 4"):
        run(folder, tmp_path / "cut", ReplayRollouts(each for each in made if each.step < 4), **optim)
    resumed = run(folder, tmp_path / "cut", ReplayRollouts(made), resume=True, **optim)
    assert everything(resumed) == everything(undisturbed)
    later = [each for each in made if each.step < 5] + rollouts(5, seed=1, version=6)
    other = run(folder, tmp_path / "other", ReplayRollouts(later), **optim)
    assert everything(other)["weights"] != everything(undisturbed)["weights"]


def test_a_checkpoint_within_a_collection_leads_elsewhere_and_is_refused(
    folder: Path, tmp_path: Path
) -> None:
    config = configured(
        folder, tmp_path, optim={"steps": 6, "updates": 2, "micro_batches": 1}, save={"keep": 0}
    )
    ends = []
    for resume in (None, str(config.folder / "checkpoints" / "checkpoint-3")):
        arguments = training_arguments(config)
        arguments.save_steps = 3
        made = trainer(config, args=arguments)
        made.train(resume_from_checkpoint=resume)
        ends.append(digest(made.model.state_dict()))
    assert ends[0] != ends[1]
    root = config.folder / "checkpoints"
    (root / "checkpoint-6" / MARK).unlink()
    with pytest.raises(UnsupportedError, match="stands within a collection of 2 optimizer steps"):
        latest(root, 2)
    assert latest(root, 3) == root / "checkpoint-3"


def saved(root: Path, step: int, *, whole: bool = True) -> Path:
    folder = root / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights")
    if whole:
        mark(folder, step, 1)
    return folder


def test_a_torn_checkpoint_is_none(tmp_path: Path) -> None:
    assert latest(tmp_path / "none", 1) is None
    whole = saved(tmp_path, 2)
    saved(tmp_path, 10, whole=False)
    assert latest(tmp_path, 1) == whole
    assert step_of(whole) == 2
    assert json.loads((whole / MARK).read_text()) == {"step": 2, "updates": 1}


def test_old_checkpoints_go_and_the_newest_whole_ones_stay(tmp_path: Path) -> None:
    for step, whole in ((2, True), (4, False), (6, True), (10, True), (12, False)):
        saved(tmp_path, step, whole=whole)
    prune(tmp_path, 2)
    # A torn one after the newest may be one that is being written.
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint-6", "checkpoint-10", "checkpoint-12"}
    prune(tmp_path, 0)
    assert len(list(tmp_path.iterdir())) == 3
