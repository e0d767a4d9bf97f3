"""Trainers over tiny models, their gradients, and the same gradients by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback

from memalpha_trainer.config import Config
from memalpha_trainer.credit.rows import Row
from memalpha_trainer.grpo.arguments import training_arguments
from memalpha_trainer.grpo.trainer import ChunkGRPOTrainer

from .grpo_support import Given, Made

Gradients = dict[str, torch.Tensor]
# Weights stay as they are, and gradients whole.
STILL = {"lr": 1e-30, "max_grad_norm": 1e30, "schedule": "constant", "warmup_steps": 0}


def model(folder: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def trainer(
    config: Config, kind: type[ChunkGRPOTrainer] = ChunkGRPOTrainer, **options: Any
) -> ChunkGRPOTrainer:
    """A trainer over the configured checkpoint, by default without weights to publish."""
    assert config.policy.model is not None
    options.setdefault("source", Made(config.seed))
    network = options.pop("model", None) or model(config.policy.model)
    tokenizer = options.pop("tokenizer", None) or AutoTokenizer.from_pretrained(config.policy.model)
    return kind(config, network, tokenizer, **options)


class _Catch(TrainerCallback):
    def __init__(self) -> None:
        self.caught: list[Gradients] = []

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: Any, **_: Any) -> None:
        self.caught.append({name: each.grad.clone() for name, each in model.named_parameters()})


def gradients(
    config: Config, rows: Sequence[Row], kind: type[ChunkGRPOTrainer] = ChunkGRPOTrainer, **options: Any
) -> list[Gradients]:
    """Of each optimizer step of one collection of these rows."""
    tables = {"optim": config.optim.model_copy(update=STILL | {"steps": config.optim.updates})}
    still = config.model_copy(update=tables)
    arguments = training_arguments(still)
    arguments.save_strategy = "no"
    made = trainer(still, kind, credit=Given(rows), args=arguments, **options)
    catch = _Catch()
    made.add_callback(catch)
    made.train()
    return catch.caught


def mean(found: Sequence[Gradients]) -> Gradients:
    return {name: sum(each[name] for each in found) / len(found) for name in found[0]}


def distance(one: Gradients, other: Gradients) -> float:
    """Relative to the other: Euclidean, over all parameters."""
    off = sum(((one[name] - other[name]).double() ** 2).sum() for name in other)
    return float((off / sum((each.double() ** 2).sum() for each in other.values())) ** 0.5)


def logprobs(network: Any, row: Row, temperature: float = 1.0) -> torch.Tensor:
    """Of a row's completion, alone, without padding."""
    ids = torch.tensor([[*row.prompt_ids, *row.completion_ids]])
    logits = network(input_ids=ids, use_cache=False).logits[0, len(row.prompt_ids) - 1 : -1]
    table = (logits / temperature).log_softmax(-1)
    return table.gather(-1, torch.tensor(row.completion_ids)[:, None])[:, 0]


def token_losses(scores: torch.Tensor, row: Row, config: Config) -> torch.Tensor:
    """The clipped loss of each token (PPO, arXiv 1707.06347, eq. 7; dual clip, arXiv 1912.09729, eq. 5)."""
    optim = config.optim
    ratio = (scores - torch.tensor(row.logprobs, dtype=scores.dtype)).exp()
    advantage = torch.tensor(row.advantage, dtype=scores.dtype).expand_as(ratio)
    clipped = ratio.clamp(1 - optim.clip_low, 1 + optim.clip_high)
    gain = torch.minimum(ratio * advantage, clipped * advantage)
    if optim.dual_clip:
        gain = torch.where(advantage < 0, torch.maximum(gain, optim.dual_clip * advantage), gain)
    return -gain


def reference(config: Config, rows: Sequence[Row]) -> Gradients:
    """Row by row in float64: the weighted mean, over trained tokens, of their losses."""
    assert config.policy.model is not None
    network = model(config.policy.model).double()
    kept = [row for row in rows if row.trained]
    total = sum(row.weight * len(row.completion_ids) for row in kept)
    for row in kept:
        losses = token_losses(logprobs(network, row, config.rollouts.temperature), row, config)
        (row.weight * losses.sum() / total).backward()
    return {name: each.grad for name, each in network.named_parameters() if each.grad is not None}
