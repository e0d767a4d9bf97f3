"""Whole runs, as processes, through the real stack: policy service, agent loop, memory, trainer."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path

import pytest

pytest.importorskip("trl")

import torch
from transformers import AutoModelForCausalLM
from typer.testing import CliRunner

from memalpha.api.policy.v1alpha1.policy_service_pb2 import ScoreRequest
from memalpha.client import PolicyClient
from memalpha.errors import AlreadyExistsError, ConflictError
from memalpha.policy.checkpoint import verified
from memalpha.tasks.data import files
from memalpha.tasks.ledger import ledger
from memalpha_trainer import cli, heldout, session
from memalpha_trainer.config import resolve
from memalpha_trainer.runs.reading import RunFiles
from memalpha_trainer.weights import probe

pytestmark = pytest.mark.timeout(1800)

BANDIT = Path(__file__).parents[1] / "configs" / "bandit.toml"
# Three rollouts of six at once: which completions share a batch is up to the machine, and differs each time.
SMALL = (
    "rollouts.concurrency=3",
    "policy.rows=4",
    "rollouts.groups=2",
    "rollouts.group_size=3",
    "optim.steps=4",
    "save.every=2",
    "eval.streams=2",
)


def command(folder: Path, *more: str) -> list[str]:
    start = [sys.executable, "-m", "memalpha_trainer", "train", "--config", str(BANDIT)]
    return [*start, f"out='{folder.parent}'", f"name='{folder.name}'", *SMALL, *more]


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def train(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(folder, *more), capture_output=True, text=True, env=environment(), check=False
    )


def interrupted(folder: Path, when: Callable[[], bool], number: signal.Signals) -> int:
    """Starts a run and sends it a signal once something is true; its exit status."""
    with subprocess.Popen(command(folder), stderr=subprocess.DEVNULL, env=environment()) as process:
        while not when():
            assert process.poll() is None, "it ended before it could be interrupted"
            time.sleep(0.05)
        process.send_signal(number)
        return process.wait()


def digest(folder: Path) -> str:
    return sha256((folder / "checkpoint" / "model.safetensors").read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "undisturbed"
    done = train(folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_a_run_leaves_everything_that_is_promised(undisturbed: Path) -> None:
    run = RunFiles.find(undisturbed)
    assert run.status().state == "done"
    assert [line["step"] for line in run.metrics()] == [1, 2, 3, 4]
    assert len(list(run.rollouts())) == len(list(run.credits())) == 4 * 2 * 3
    assert set(json.loads((undisturbed / "results.json").read_text())) == {"before", "after"}
    assert (undisturbed / "report.md").read_text().startswith("# Run undisturbed")
    sealed = verified(undisturbed / "checkpoint")
    assert sealed is not None
    assert sealed.policy_version == 1 + 4


def test_ids_that_were_sampled_are_those_that_were_trained_on(undisturbed: Path) -> None:
    """The trainer's logprobs of the recorded ids are the engine's: other ids would have others."""
    run = RunFiles.find(undisturbed)
    compared = 0
    for rollout, credit in zip(run.rollouts(), run.credits(), strict=True):
        for sample, earned in zip(rollout.samples, credit.samples, strict=True):
            for theirs, ours in zip(sample.logprobs, earned.trainer_logprobs, strict=False):
                assert abs(theirs - ours) <= 1e-4
                compared += 1
    assert compared > 100


def test_prompts_are_as_long_as_the_configuration_says(undisturbed: Path) -> None:
    samples = [sample for rollout in RunFiles.find(undisturbed).rollouts() for sample in rollout.samples]
    longest = max(len(each.prompt_ids) for each in samples)
    assert longest <= resolve(BANDIT).scale.prompt_tokens < 1.2 * longest


def test_every_token_carries_the_version_that_drew_it(undisturbed: Path) -> None:
    for rollout in RunFiles.find(undisturbed).rollouts():
        for sample in rollout.samples:
            assert {span.version for span in sample.versions} == {1 + rollout.step}
            assert sum(span.tokens for span in sample.versions) == len(sample.completion_ids)


def test_killed_and_resumed_it_ends_at_the_same_bits(undisturbed: Path) -> None:
    folder = undisturbed.parent / "killed"
    metrics = folder / "metrics.jsonl"
    # Step 3 is written down, and the checkpoint is of step 2: a step is done again.
    interrupted(folder, lambda: metrics.exists() and metrics.read_bytes().count(b"\n") >= 3, signal.SIGKILL)
    assert RunFiles.find(folder).status().state == "died"
    resumed = train(folder, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert "missing keys" not in resumed.stderr  # a tied head is none
    assert digest(folder) == digest(undisturbed)
    assert (folder / "rollouts.jsonl").read_text() == (undisturbed / "rollouts.jsonl").read_text()


def test_asked_to_stop_it_ends_with_a_checkpoint_and_goes_on(undisturbed: Path) -> None:
    folder = undisturbed.parent / "stopped"
    metrics = folder / "metrics.jsonl"
    status = interrupted(folder, lambda: metrics.exists() and metrics.stat().st_size > 0, signal.SIGINT)
    assert status == 130
    assert RunFiles.find(folder).status().state == "stopped"
    assert train(folder, "--resume").returncode == 0
    assert digest(folder) == digest(undisturbed)


def test_replayed_rollouts_train_to_the_same_weights(undisturbed: Path) -> None:
    folder = undisturbed.parent / "replayed"
    done = train(folder, "--replay", str(undisturbed / "rollouts.jsonl"))
    assert done.returncode == 0, done.stderr
    assert digest(folder) == digest(undisturbed)


def test_another_seed_trains_to_other_weights(undisturbed: Path) -> None:
    folder = undisturbed.parent / "other"
    assert train(folder, "seed=1").returncode == 0
    assert digest(folder) != digest(undisturbed)


@pytest.mark.filterwarnings("default")  # libraries' own
def test_a_name_that_is_taken_is_refused(undisturbed: Path) -> None:
    settings = [f"out='{undisturbed.parent}'", f"name='{undisturbed.name}'", *SMALL]
    with pytest.raises(AlreadyExistsError, match="resume it, or choose another name"):
        session.train(resolve(BANDIT, settings), quiet=True)


def test_own_data_and_an_own_reward_train_by_the_same_path(tmp_path: Path) -> None:
    files.write(tmp_path / "mine.jsonl", [ledger(number) for number in range(4)])
    (tmp_path / "my_rewards.py").write_text(
        "def score(rollout, instance):\n    return min(1.0, len(rollout.samples[0].text) / 100)\n"
    )
    shorter = ("optim.steps=2", "task.most_chunks=2", "task.reader='policy'")
    chosen = ("--data", str(tmp_path / "mine.jsonl"), "--reward", "my_rewards:score")
    done = subprocess.run(
        command(tmp_path / "runs" / "mine", *shorter, *chosen),
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    rollouts = list(RunFiles.find(tmp_path / "runs" / "mine").rollouts())
    assert {len(each.samples) for each in rollouts} == {2}
    assert all(each.reward is not None and 0 < each.reward <= 1 for each in rollouts)


@pytest.mark.filterwarnings("default")  # libraries' own
def test_a_reward_that_is_not_there_is_a_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, _, _, *arguments = command(tmp_path / "runs" / "none", "--reward", "nowhere:score")
    monkeypatch.setattr(sys, "argv", ["memalpha-trainer", *arguments])
    monkeypatch.setattr(cli, "_prepare", lambda: None)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("error: task.reward nowhere:score: No module named")
    assert not (tmp_path / "runs" / "none").exists()


@contextmanager
def up(folder: Path, model: Path) -> Iterator[str]:
    """`memalpha up` with a checkpoint; the address of its policy service."""
    free = {f"MEMALPHA_{name}_ADDRESS": "127.0.0.1:0" for name in ("MEMORY", "POLICY", "AGENT")}
    start = [sys.executable, "-m", "memalpha", "up", "--json", "--data", str(folder / "data")]
    with (
        (folder / "up.log").open("wb") as log,
        subprocess.Popen(
            [*start, "--policy", "transformers", "--model", str(model)],
            env=environment() | free,
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        assert process.stdout
        try:
            line = process.stdout.readline()
            assert line, (folder / "up.log").read_text()
            yield json.loads(line)["services"]["policy"]["address"]
        finally:
            process.terminate()


def off(address: str, folder: Path) -> float:
    """By how much a served policy's logprobs are off those of a checkpoint, as the trainer has it."""
    network = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    asked = probe(network, version=1)
    with PolicyClient.connect(address) as client:
        found = client.score(ScoreRequest(sequences=asked.sequences)).scores
    pairs = zip(found, asked.scores, strict=True)
    return max(
        abs(one - other)
        for served, ours in pairs
        for one, other in zip(served.logprobs, ours.logprobs, strict=True)
    )


@pytest.mark.filterwarnings("default")  # libraries' own
def test_the_trained_policy_that_memalpha_up_serves_is_the_one_that_the_run_evaluated(
    undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[heldout.Results] = []
    asked = heldout.of_service
    monkeypatch.setattr(heldout, "of_service", lambda *a, **o: found.append(asked(*a, **o)) or found[-1])
    results = json.loads((undisturbed / "results.json").read_text())
    checkpoint = shutil.copytree(undisturbed / "checkpoint", tmp_path / "checkpoint")
    with up(tmp_path, checkpoint) as address:
        settings = ["--config", str(BANDIT), *SMALL, "--address", address]
        # Only the service needs them: who asks it reads none.
        (checkpoint / "model.safetensors").unlink()
        done = CliRunner().invoke(cli.commands, ["evaluate", str(checkpoint), *settings])
        # The control: the model that the run started from says something else.
        assert off(address, undisturbed / "checkpoint") <= 1e-4 < off(address, undisturbed / "model")
        # Nor is that model evaluated by its words.
        other = CliRunner().invoke(cli.commands, ["evaluate", str(undisturbed / "model"), *settings])
    assert done.exit_code == 0, done.output
    assert isinstance(other.exception, ConflictError)
    assert other.exception.reason == "ANOTHER_POLICY"
    (served,) = (
        json.loads(json.dumps({name: asdict(each) for name, each in rows.items()})) for rows in found
    )
    assert served == results["after"]
