"""Runs of the trainer over rollouts that no policy wrote: what moves, what is told, what is counted."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="needs torch: uv sync --group train")
pytest.importorskip("trl")

import torch

from memalpha.errors import InternalError
from memalpha_trainer.grpo.metrics import Clip, Passes
from memalpha_trainer.grpo.resume import MARK
from memalpha_trainer.grpo.trainer import ChunkGRPOTrainer
from memalpha_trainer.records import Rollout
from memalpha_trainer.rollouts.replay import ReplayRollouts
from memalpha_trainer.weights import WeightFolders, probe

from .grpo_support import Given, Heard, Made, checkpoint, configured, digest, ragged, rollouts, row
from .grpo_trainers import logprobs, model, trainer


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(tmp_path_factory.mktemp("model") / "tiny", layers=1)


class Fading(Given):
    """Rows with an advantage at the first steps, without one from the third on."""

    def __call__(self, rollouts: Any, **options: Any) -> Any:
        self.rows = (
            [replace(each, advantage=0.0) for each in self.rows] if options["seed_step"] >= 2 else self.rows
        )
        return super().__call__(rollouts, **options)


class Snapshots(Heard):
    """Digests of the weights after each step."""

    def __init__(self) -> None:
        super().__init__()
        self.model: Any = None
        self.digests: list[str] = []

    def stepped(self, step: int, numbers: Any) -> None:
        super().stepped(step, numbers)
        self.digests.append(digest(self.model.state_dict()))


def faded(folder: Path, out: Path) -> tuple[Snapshots, Any]:
    config = configured(folder, out, optim={"warmup_steps": 0, "schedule": "constant", "weight_decay": 0.1})
    heard = Snapshots()
    made = trainer(config, observer=heard, credit=Fading(ragged(12)))
    heard.model = made.model
    return heard, made


def test_a_collection_without_advantage_leaves_the_weights_alone_after_momentum_too(
    folder: Path, tmp_path: Path
) -> None:
    heard, made = faded(folder, tmp_path)
    made.train()
    assert len(set(heard.digests)) == 2
    assert heard.digests[1] == heard.digests[2] == heard.digests[3]
    assert heard.numbers[2]["rows/passed"] == 0


def test_momentum_alone_would_move_them(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ChunkGRPOTrainer, "idle", False)
    heard, made = faded(folder, tmp_path)
    made.train()
    assert len(set(heard.digests)) == 4


def test_no_row_is_lost_over_a_run_with_prime_numbers_of_rows(folder: Path, tmp_path: Path) -> None:
    heard = Heard()
    config = configured(folder, tmp_path, optim={"steps": 6, "updates": 2, "micro_batches": 3})
    rows = [replace(each, rollout=(number, 0)) for number, each in enumerate(ragged(97))]
    trainer(config, observer=heard, credit=Given(rows)).train()
    expected = {(number, 0, each.sample) for number, each in enumerate(rows) if each.trained}
    assert [step for step, _ in heard.scored_] == [0, 2, 4]
    assert all(set(found) == expected for _, found in heard.scored_)
    assert heard.numbers[0]["rows/passed"] == len(expected)


@pytest.mark.parametrize("place", [0, 1])
def test_a_lost_row_stops_the_run(folder: Path, tmp_path: Path, place: int) -> None:
    Stuck.place = place
    with pytest.raises(InternalError, match=r"step 0 trained on \d+ rows of 9") as error:
        trainer(configured(folder, tmp_path), Stuck, credit=Given(ragged(9, masked=0))).train()
    assert error.value.reason == "ROWS_LOST"


class Stuck(ChunkGRPOTrainer):
    """Hands out the same micro-batch all the time."""

    place = 0

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        super()._prepare_inputs(generation_batch)
        assert self._collection is not None
        return self._collection.tensors[self.place]


def test_stale_groups_are_dropped_whole_and_counted(folder: Path, tmp_path: Path) -> None:
    heard = Heard()
    trainer(configured(folder, tmp_path), source=Late(), observer=heard).train()
    # One token of group 1 is a version too old at every step but the first: 2 rollouts of 3 samples go.
    assert [each["rows/dropped_stale"] for each in heard.numbers] == [0, 6, 6, 6]
    assert [each["rows/made"] for each in heard.numbers] == [18, 12, 12, 12]
    assert {key[0] for key in heard.scored_[1][1]} == {0, 2}


class Late(Made):
    """One sample of group 1 was written by the weights before."""

    def collect(self, step: int) -> list[Rollout]:
        made = super().collect(step)
        if step:
            old = rollouts(step, version=step)[2]
            made[2] = replace(made[2], samples=(old.samples[0], *made[2].samples[1:]))
        return made


def test_the_trainers_own_logprobs_are_told_for_every_row(folder: Path, tmp_path: Path) -> None:
    heard, network = Heard(), model(folder)
    rows = [replace(each, rollout=(number, 0), sample=0) for number, each in enumerate(ragged(7, masked=0))]
    trainer(configured(folder, tmp_path, optim={"steps": 2}), observer=heard, credit=Given(rows)).train()
    step, found = heard.scored_[0]
    assert step == 0
    for number, each in enumerate(rows):
        assert found[(number, 0, 0)] == pytest.approx(logprobs(network, each).tolist(), abs=1e-4)


def test_the_numbers_of_a_step_are_told_once_it_is_done(folder: Path, tmp_path: Path) -> None:
    heard = Heard()
    trainer(configured(folder, tmp_path), observer=heard).train()
    assert [each["step"] for each in heard.numbers] == [1, 2, 3, 4]
    names = {"loss", "grad_norm", "learning_rate", "entropy", "ratio/mean", "ratio/max", "ratio/clip_low"}
    names |= {
        "ratio/clip_high",
        "mismatch/mean",
        "mismatch/p99",
        "mismatch/max",
        "mismatch/k3",
        "rows/passed",
    }
    names |= {
        "rows/idle",
        "rows/made",
        "rows/dropped_stale",
        "padding/share",
        "reward/total",
        "version/trained",
    }
    names |= {"seconds/collect", "seconds/train"}
    assert all(names <= each.keys() for each in heard.numbers)
    assert heard.numbers[0]["entropy"] == pytest.approx(math.log(384), abs=0.05)


def test_mismatch_is_told_before_the_first_update_of_a_collection_only(folder: Path, tmp_path: Path) -> None:
    heard = Heard()
    trainer(configured(folder, tmp_path, optim={"updates": 2}), observer=heard).train()
    assert ["mismatch/max" in each for each in heard.numbers] == [True, False, True, False]


def test_a_run_that_is_asked_to_stop_ends_between_collections_with_a_checkpoint(
    folder: Path, tmp_path: Path
) -> None:
    config = configured(folder, tmp_path, optim={"steps": 8, "updates": 2}, save={"every": 8})
    heard = Stopping()
    heard.trainer = trainer(config, observer=heard)
    heard.trainer.train()
    assert heard.trainer.state.global_step == 4
    assert (config.folder / "checkpoints" / "checkpoint-4" / MARK).is_file()


class Stopping(Heard):
    """Asks to stop at the third step."""

    trainer: Any = None

    def stepped(self, step: int, numbers: Any) -> None:
        if step == 3:
            self.trainer.stop_soon()


def test_rollouts_from_a_file_train_to_the_same_bits(folder: Path, tmp_path: Path) -> None:
    first = Dumped(tmp_path / "rollouts.jsonl")
    live = trainer(configured(folder, tmp_path / "live"), observer=first)
    live.train()
    found = [replayed(folder, tmp_path / "again", first.file)]
    lines = first.file.read_text("utf-8").splitlines()
    changed = Rollout.from_json(lines[0])
    sample = replace(changed.samples[0], completion_ids=(3, *changed.samples[0].completion_ids[1:]))
    lines[0] = replace(changed, samples=(sample, *changed.samples[1:])).to_json()
    first.file.write_text("\n".join(lines), "utf-8")
    found.append(replayed(folder, tmp_path / "changed", first.file))
    assert found[0] == digest(live.model.state_dict())
    assert found[1] != found[0]


def replayed(folder: Path, out: Path, file: Path) -> str:
    made = trainer(configured(folder, out), source=ReplayRollouts.of_file(file))
    made.train()
    return digest(made.model.state_dict())


class Dumped(Heard):
    """Writes rollouts to a file."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.file = file

    def collected(self, step: int, rollouts: Any, batch: Any) -> None:
        with self.file.open("a", encoding="utf-8") as lines:
            lines.writelines(each.to_json() + "\n" for each in rollouts)


def test_weights_are_published_before_each_collection_first_those_that_it_began_with(
    folder: Path, tmp_path: Path
) -> None:
    config = configured(folder, tmp_path, optim={"steps": 6, "updates": 2})
    source = Made()
    made = trainer(config, source=source, folders=WeightFolders(config.folder / "weights", folder))
    made.train()
    assert [each.version for each in source.published] == [1, 3, 5]
    assert source.published[0].folder == folder
    made.publish()
    made.publish()
    assert [each.version for each in source.published] == [1, 3, 5, 7]


def test_weights_that_it_began_with_are_compared_and_not_gathered(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gathered: list[int] = []
    gather = ChunkGRPOTrainer._state

    def counted(self: ChunkGRPOTrainer) -> Any:
        gathered.append(self.version)
        return gather(self)

    monkeypatch.setattr(ChunkGRPOTrainer, "_state", counted)
    source = Made()
    config = configured(folder, tmp_path, optim={"steps": 2})
    made = trainer(config, source=source, folders=WeightFolders(config.folder / "weights", folder))
    made.check_first()
    (checked,) = source.published
    assert (checked.folder, checked.version) == (folder, 1)
    assert checked.probe == probe(model(folder), 1)
    made.train()
    assert [each.version for each in source.published] == [1, 1, 2]
    assert gathered == [2]


def test_an_adapter_is_trained_alone_and_written_merged(folder: Path, tmp_path: Path) -> None:
    config = configured(folder, tmp_path, optim={"lora_rank": 4, "steps": 4})
    source = Made()
    made = trainer(config, source=source, folders=WeightFolders(config.folder / "weights", folder))
    before = {name: each.clone() for name, each in made.model.state_dict().items() if "lora_" not in name}
    made.train()
    made.publish()
    after = made.model.state_dict()
    assert digest({name: after[name] for name in before}) == digest(before)
    served = model(source.published[-1].folder)
    ids = torch.tensor([[5, 6, 7, 8, 9]])
    with torch.no_grad():
        merged, adapted, base = (
            each(input_ids=ids, use_cache=False).logits for each in (served, made.model, model(folder))
        )
    assert (merged - adapted).abs().max() < 1e-5
    assert (merged - base).abs().max() > 1e-4


def test_a_gradient_that_is_no_number_stops_the_run_before_it_does_harm(folder: Path, tmp_path: Path) -> None:
    # A token that could not have been drawn: its ratio is infinite.
    made = trainer(configured(folder, tmp_path), credit=Given([row(logprobs=[-math.inf, 0.0])]))
    with pytest.raises(InternalError, match="the gradient of step 1 holds what is no number"):
        made.train()
    assert digest(made.model.state_dict()) == digest(model(folder).state_dict())


def test_the_numbers_of_tokens_are_right_by_hand() -> None:
    passes = Passes()
    inputs = {
        "tool_mask": torch.tensor([[1.0, 1.0], [2.0, 0.0]]),
        "advantages": torch.tensor([1.0, -1.0]),
        "old_per_token_logps": torch.tensor([[-1.0, -2.0], [-3.0, 0.0]]),
    }
    # Ratios 1.5 (good, above), 1 and 0.5 (bad, below); the last place is masked.
    scores = inputs["old_per_token_logps"] + torch.tensor([[1.5, 1.0], [0.5, 9.0]]).log()
    passes.add(inputs, scores, torch.tensor([[1.0, 2.0], [6.0, 100.0]]))
    found = passes.numbers(Clip(0.2, 0.2), lambda values: values, fresh=True)
    off = [math.log(1.5), 0.0, math.log(2)]
    assert json.loads(json.dumps(found)) == pytest.approx(
        {
            "entropy": 3.0,
            "ratio/mean": 1.0,
            "ratio/max": 1.5,
            "ratio/clip_low": 1 / 3,
            "ratio/clip_high": 1 / 3,
            "mismatch/mean": sum(off) / 3,
            "mismatch/p99": math.log(2),
            "mismatch/max": math.log(2),
            # exp(d) - 1 - d: 0.5 - ln 1.5, 0, -0.5 + ln 2.
            "mismatch/k3": (math.log(2) - math.log(1.5)) / 3,
            "mismatch/token_mult_prob_error": (1.5 + 1 + 2) / 3,
        },
        abs=1e-6,
    )
