"""Numbers of an optimizer step, over the tokens that it trained on.

Logprobs of the trainer and of the policy that wrote are compared token by token. Before the first update of a
collection they are those of the same weights, and differ by rounding; a mean hides the few tokens that are
far off, so that p99 and maximum stand beside it. After an update the difference is the policy's own change.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from memalpha_trainer.grpo.collate import Tensors

Gather = Callable[[torch.Tensor], torch.Tensor]
"""Puts the values (n,) of all ranks together; ranks may have different numbers."""


@dataclass(frozen=True, slots=True)
class Clip:
    """Bounds of the ratio, as the loss has them."""

    low: float
    high: float


@dataclass(slots=True)
class Passes:
    """Tokens of the passes of one optimizer step: change of logprob, entropy, advantage."""

    changes: list[torch.Tensor] = field(default_factory=list)
    entropies: list[torch.Tensor] = field(default_factory=list)
    advantages: list[torch.Tensor] = field(default_factory=list)

    def add(self, inputs: Tensors, logprobs: torch.Tensor, entropies: torch.Tensor) -> None:
        """Takes in one micro-batch: logprobs and entropies (B, C) of the pass over `inputs`."""
        kept = inputs["tool_mask"] > 0
        advantages = inputs["advantages"]
        spread = advantages if advantages.dim() == 2 else advantages[:, None].expand_as(logprobs)
        self.changes.append((logprobs.detach() - inputs["old_per_token_logps"])[kept])
        self.entropies.append(entropies.detach()[kept])
        self.advantages.append(spread[kept])

    def numbers(self, clip: Clip, gather: Gather, *, fresh: bool) -> dict[str, float]:
        """What is reported of them; nothing if there are none.

        Args:
            clip: The loss's.
            gather: See there.
            fresh: Whether no update lies between the policy that wrote and this step.
        """
        changes, entropies, advantages = (
            gather(torch.cat(each).float().cpu()) for each in (self.changes, self.entropies, self.advantages)
        )
        if not len(changes):
            return {}
        found = {"entropy": entropies.mean().item()} | _ratios(changes.exp(), advantages, clip)
        return found | _mismatch(changes) if fresh else found


def _ratios(ratios: torch.Tensor, advantages: torch.Tensor, clip: Clip) -> dict[str, float]:
    return {
        "ratio/mean": ratios.mean().item(),
        "ratio/max": ratios.max().item(),
        "ratio/clip_low": _share((ratios < 1 - clip.low) & (advantages < 0)),
        "ratio/clip_high": _share((ratios > 1 + clip.high) & (advantages > 0)),
    }


def _mismatch(changes: torch.Tensor) -> dict[str, float]:
    off = changes.abs()
    return {
        "mismatch/mean": off.mean().item(),
        "mismatch/p99": off.kthvalue(-(-99 * len(off) // 100)).values.item(),
        "mismatch/max": off.max().item(),
        # Schulman's k3 estimate of KL(wrote, trains).
        "mismatch/k3": (changes.exp() - 1 - changes).mean().item(),
        "mismatch/token_mult_prob_error": off.exp().mean().item(),
    }


def _share(flags: torch.Tensor) -> float:
    return flags.float().mean().item()
