"""Settings that may change while a run goes on, since no token and no gradient depends on them."""

from __future__ import annotations

from collections.abc import Collection

from memalpha_trainer.config import Config
from memalpha_trainer.runs.toml import flat

FREE = frozenset(
    (
        *("name", "out", "policy.address", "rollouts.concurrency", "rewards.judge_address"),
        *("scale.world", "scale.gpu_gib", "scale.reserve_gib"),
        *("scale.prompt_tokens", "scale.mean_prompt_tokens", "scale.mean_completion_tokens"),
        *("save", "eval", "log"),
    )
)
"""Settings, and tables of them."""


def differing(before: Config, after: Config, free: Collection[str] = FREE) -> str:
    """The first setting that differs and is not free; empty if there is none."""
    was, now = flat(before.model_dump(mode="json")), flat(after.model_dump(mode="json"))
    keys = (key for key, value in was.items() if now.get(key) != value)
    return next((key for key in keys if not {key, key.partition(".")[0]} & set(free)), "")
