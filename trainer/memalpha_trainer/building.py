"""A trainer put together from a configuration: network, tokenizer, folders of weights, credit."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
import transformers

from memalpha.client import PolicyClient
from memalpha_trainer.config import Config
from memalpha_trainer.credit.content import ContentCheck, JudgedContent, LedgerContent
from memalpha_trainer.credit.rows import rows
from memalpha_trainer.grpo.observer import Observer
from memalpha_trainer.grpo.trainer import ChunkGRPOTrainer
from memalpha_trainer.rollouts.source import RolloutSource
from memalpha_trainer.weights import WeightFolders


def built(
    config: Config, base: Path, weights: Path, source: RolloutSource, observer: Observer
) -> ChunkGRPOTrainer:
    """The trainer of a run, in this process.

    Args:
        config: The run's.
        base: The checkpoint to start from.
        weights: Where new weights go.
        source: Makes rollouts.
        observer: Hears of the run.

    Raises:
        InvalidInputError: INVALID_CONFIG, or CHECKPOINT_NOT_SEALED.
    """
    network = transformers.AutoModelForCausalLM.from_pretrained(
        base, dtype=torch.float32, attn_implementation="sdpa", local_files_only=True
    )
    return ChunkGRPOTrainer(
        config,
        network,
        transformers.AutoTokenizer.from_pretrained(base, local_files_only=True),
        source,
        folders=weight_folders(config, base, weights),
        observer=observer,
        credit=partial(rows, config=config, check=_check(config)),
    )


def weight_folders(config: Config, base: Path, weights: Path) -> WeightFolders:
    """The numbered weights of a run."""
    return WeightFolders(weights, base, config.save.keep, getattr(torch, config.optim.dtype))


def _check(config: Config) -> ContentCheck | None:
    """What judges contents; nothing where that has no weight."""
    table = config.rewards
    if not table.content:
        return None
    if config.task.kind == "ledger":
        return LedgerContent(table.quirks)
    return JudgedContent(PolicyClient.connect(table.judge_address), table.quirks)
