"""A run's settings as TRL has them. What TRL would do besides training is turned off.

One collection is `optim.updates` optimizer steps of `optim.micro_batches` micro-batches each. TRL counts
prompts of a data set, of which there is none: two to a batch stand for them, the least that it takes.
"""

from __future__ import annotations

from pathlib import Path

import torch
from peft import LoraConfig
from trl import GRPOConfig

from memalpha_trainer.config import Config

GROUP = 2
"""Prompts that TRL is told of, in a batch and in a group."""


def training_arguments(config: Config, out: Path | None = None) -> GRPOConfig:
    """TRL's arguments.

    Args:
        config: The run's.
        out: Folder of checkpoints; the run's own if there is none.
    """
    optim = config.optim
    return GRPOConfig(
        output_dir=str(out or config.folder / "checkpoints"),
        seed=config.seed,
        use_cpu=not torch.cuda.is_available(),
        # What is collected, and in which parts it is passed over.
        per_device_train_batch_size=GROUP,
        num_generations=GROUP,
        steps_per_generation=optim.updates * optim.micro_batches,
        gradient_accumulation_steps=optim.micro_batches,
        max_steps=optim.steps,
        max_completion_length=config.agent.max_new_tokens,
        temperature=config.rollouts.temperature,
        use_vllm=False,
        # The loss; see `collate`.
        loss_type="dapo",
        epsilon=optim.clip_low,
        epsilon_high=optim.clip_high,
        delta=optim.dual_clip or None,
        beta=optim.kl,
        # The optimizer.
        learning_rate=optim.lr,
        lr_scheduler_type=optim.schedule,
        warmup_steps=optim.warmup_steps,
        weight_decay=optim.weight_decay,
        max_grad_norm=optim.max_grad_norm,
        bf16=optim.dtype == "bfloat16",
        gradient_checkpointing=optim.gradient_checkpointing,
        # Checkpoints; old ones go when a new one is whole, see `resume`.
        save_strategy="steps",
        save_steps=config.save.every,
        save_total_limit=None,
        # A loss that is no number is an error, not an average.
        logging_nan_inf_filter=False,
        logging_steps=1,
        report_to="none",
        disable_tqdm=True,
    )


def lora(config: Config) -> LoraConfig | None:
    """The adapter that is trained; None if all weights are."""
    if not config.optim.lora_rank:
        return None
    return LoraConfig(
        r=config.optim.lora_rank,
        lora_alpha=config.optim.lora_alpha,
        target_modules=list(config.scale.lora_targets),
        task_type="CAUSAL_LM",
    )
