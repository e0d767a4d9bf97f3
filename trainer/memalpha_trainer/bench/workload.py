"""The run that is measured: a configuration for each size of model, and rewards that differ."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from memalpha.errors import InvalidInputError, make
from memalpha.tasks.instance import Instance
from memalpha_trainer.config import Config, TinyTable
from memalpha_trainer.records import Rollout

Device = Literal["cpu", "cuda"]
SIZES = {
    "1M": TinyTable(layers=4, hidden=128, vocabulary=1152),
    "5M": TinyTable(layers=6, hidden=256, vocabulary=1152),
    "20M": TinyTable(layers=6, hidden=512, vocabulary=1152),
}
"""Shapes by about how many parameters they have."""


def workload(size: str, out: Path, steps: int, device: Device = "cpu") -> Config:
    """A run of a size: 48 rollouts of six chunks a step, in as many micro-batches as the ledger's own.

    Args:
        size: One of `SIZES`.
        out: Folder of runs.
        steps: Optimizer steps; the first one is not measured.
        device: What it runs on. On a GPU nothing is claimed of bits, and the service need not pay for them.

    Raises:
        InvalidInputError: UNKNOWN_SIZE, or TOO_FEW_STEPS.
    """
    if size not in SIZES:
        message = f"sizes must be of {', '.join(SIZES)}, not {size!r:.40}"
        raise make(InvalidInputError, "UNKNOWN_SIZE", message, size=size)
    if steps < 2:
        message = f"steps must be at least 2, of which the first is not measured; it is {steps}"
        raise make(InvalidInputError, "TOO_FEW_STEPS", message, steps=steps)
    return Config.model_validate(
        {
            "name": size,
            "out": out,
            "task": {"kind": "ledger", "reward": f"{__name__}:score"},
            # As many tokens as the ledger's statements take, from a model that never ends by itself.
            "agent": {"max_new_tokens": 24},
            "policy": {"tiny": SIZES[size], "rows": 48, "batch_invariant": device == "cpu"},
            "credit": {"mode": "trajectory"},
            "optim": {"steps": steps, "lr": 1e-6, "micro_batches": 8},
            "save": {"every": steps},
            "eval": {"first": False, "streams": 1, "units": (1,)},
        }
    )


def score(rollout: Rollout, instance: Instance) -> float:
    """The share of even ids in what was written: a reward that tells rollouts apart and means nothing."""
    ids = [each for sample in rollout.samples for each in sample.completion_ids]
    return sum(each % 2 == 0 for each in ids) / max(len(ids), 1)
