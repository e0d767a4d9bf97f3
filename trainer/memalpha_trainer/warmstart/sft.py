"""Imitation by TRL's `SFTTrainer`: token ids in, a sealed checkpoint out.

Ids are the engine's: a prompt is rendered by the engine's own tokenizer, a completion ends with the token at
which the engine stops, and only the completion is learned. Rows are taken in the order of `Schedule.order`,
in which batches have rows of like length, so that little is padded. The same rows, schedule and library
versions give the same weights on one thread.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from datasets import Dataset
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PrinterCallback, TrainerCallback
from trl import SFTConfig, SFTTrainer

from memalpha.errors import InvalidInputError, make
from memalpha.policy.checkpoint import MANIFEST, Manifest, manifest, seal
from memalpha.policy.local.libraries import prepare
from memalpha.policy.local.tokens import Tokenizer
from memalpha_trainer import probes
from memalpha_trainer.warmstart.example import Example
from memalpha_trainer.warmstart.muon import MuonAdam
from memalpha_trainer.warmstart.schedule import Row, Schedule
from memalpha_trainer.weights import probe

Progress = Callable[[int, int, float, float], None]
"""Called with steps done, steps in all, loss, and share of tokens that were the likeliest, now and then."""
_IGNORED = -100
_LOGGED = 25
"""Steps between two words of progress."""


def encoded(folder: Path, examples: Iterable[Example]) -> list[Row]:
    """Examples as rows of a checkpoint's tokens."""
    tokenizer = Tokenizer(folder)
    end = AutoConfig.from_pretrained(folder, local_files_only=True).eos_token_id
    return [
        Row(tuple(tokenizer.chat(each.messages())), (*tokenizer.literal(each.completion), end))
        for each in examples
    ]


def imitate(
    start: Path,
    out: Path,
    stages: Sequence[Sequence[Row]],
    schedule: Schedule,
    *,
    version: int = 1,
    sharpness: float = 1.0,
    progress: Progress = lambda step, of, loss, right: None,
) -> Manifest:
    """Learns rows and writes the result as a checkpoint of the same kind as the one it starts from.

    Args:
        start: A sealed checkpoint; its other files and folders come along.
        out: A folder that does not exist yet; it appears when all of it is there.
        stages: Rows by stage; each stage is learned once, in the schedule's order, under one learning rate
            for all stages together.
        schedule: How.
        version: Number of the new weights.
        sharpness: By what all logits are multiplied at the end: what then is sampled at temperature 1 is what
            was learned, at one over it.
        progress: Is told of the loss.

    Raises:
        InvalidInputError: FOLDER_NOT_EMPTY, CHECKPOINT_NOT_SEALED, or NOTHING_TO_LEARN.
    """
    sealed = manifest(start)
    if sealed is None:
        raise make(InvalidInputError, "CHECKPOINT_NOT_SEALED", f"{start} holds no {MANIFEST}", path=start)
    if out.exists():
        raise make(InvalidInputError, "FOLDER_NOT_EMPTY", f"folder {out} must not exist yet", path=out)
    rows = [row for number, stage in enumerate(stages) for row in schedule.order(stage, number)]
    if not rows:
        message = f"there must be as many rows as a batch has, {schedule.batch}"
        raise make(InvalidInputError, "NOTHING_TO_LEARN", message, batch=schedule.batch)
    prepare(threads=1)
    network = AutoModelForCausalLM.from_pretrained(start, dtype=torch.float32, local_files_only=True)
    _train(network, start, rows, schedule, progress)
    with torch.no_grad():
        network.model.norm.weight.mul_(sharpness)
    draft = out.with_name(f"{out.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    shutil.copytree(start, draft, ignore=shutil.ignore_patterns(MANIFEST, "*.safetensors", "*.bin"))
    network.save_pretrained(draft)
    probes.keep(draft, probe(network, version))
    made = seal(draft, sealed.trained_with, policy_version=version)
    draft.rename(out)
    return made


def _train(network: Any, start: Path, rows: Sequence[Row], schedule: Schedule, progress: Progress) -> None:
    steps = len(rows) // schedule.batch
    optimizer = MuonAdam(network, muon_lr=schedule.muon_lr, lr=schedule.lr)
    rates = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: schedule.rate(step, steps))
    with TemporaryDirectory() as scratch:
        trainer = SFTTrainer(
            model=network,
            args=_arguments(schedule, scratch),
            train_dataset=Dataset.from_list([features(row) for row in rows]),
            processing_class=AutoTokenizer.from_pretrained(start, local_files_only=True),
            callbacks=[_Told(progress)],
            optimizers=(optimizer, rates),
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()


def _arguments(schedule: Schedule, scratch: str) -> SFTConfig:
    return SFTConfig(
        output_dir=scratch,
        per_device_train_batch_size=schedule.batch,
        num_train_epochs=1,
        max_grad_norm=schedule.max_grad_norm,
        seed=schedule.seed,
        # Rows are in order, and have all that the collator needs.
        train_sampling_strategy="sequential",
        dataset_kwargs={"skip_prepare_dataset": True},
        max_length=None,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        logging_steps=_LOGGED,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )


def features(row: Row) -> dict[str, list[int]]:
    """A row as TRL's collator takes it: no loss on the prompt."""
    return {
        "input_ids": [*row.prompt, *row.completion],
        "labels": [*[_IGNORED] * len(row.prompt), *row.completion],
    }


class _Told(TrainerCallback):
    """Hands the loss on, in place of the printed logs."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if logs and "loss" in logs:
            found = (float(logs[name]) for name in ("loss", "mean_token_accuracy"))
            self._progress(state.global_step, state.max_steps, *found)
