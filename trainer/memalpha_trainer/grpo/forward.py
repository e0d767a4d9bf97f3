"""One pass over rows of tokens, with as little padding as there can be.

TRL pads prompts on the left and completions on the right, so that a row is as wide as the longest prompt and
the longest completion together. Here the tokens of a row stand side by side, at the places they had when they
were sampled, and a row is as wide as the longest one; the output head sees sampled tokens alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from trl.trainer import utils

_UNLABELLED = -100


@dataclass(frozen=True, slots=True)
class Joined:
    """Rows (B, W) without gaps; W is the length of the longest, at least 2.

    Attributes:
        ids: Token ids, then padding.
        mask: 1 for tokens.
        labels: Ids of sampled tokens; elsewhere none.
        places: (B, C) where the logprob of each sampled token is found, in the next-token outputs (B, W - 1).
    """

    ids: torch.Tensor
    mask: torch.Tensor
    labels: torch.Tensor
    places: torch.Tensor


def join(ids: torch.Tensor, mask: torch.Tensor, completion: int) -> Joined:
    """Rows without gaps.

    Args:
        ids: (B, P + C): prompts padded on the left, completions on the right.
        mask: (B, P + C): 1 for tokens.
        completion: C.
    """
    width = max(2, int(mask.sum(1).max()))
    order = torch.argsort(1 - mask, dim=1, stable=True)[:, :width]
    begins = mask[:, :-completion].sum(1, keepdim=True)
    joined, kept = ids.gather(1, order), mask.gather(1, order)
    sampled = (kept == 1) & (torch.arange(width, device=ids.device) >= begins)
    places = begins - 1 + torch.arange(completion, device=ids.device)
    return Joined(joined, kept, joined.masked_fill(~sampled, _UNLABELLED), places.clamp(0, width - 2))


def scores(model: Any, ids: torch.Tensor, mask: torch.Tensor, completion: int) -> tuple[Any, Any]:
    """Logprobs and entropies (B, C) of sampled tokens, zero elsewhere; no entropies if the model gives none.

    Args:
        model: With TRL's output head, which knows the temperature.
        ids: See `join`.
        mask: See `join`.
        completion: See `join`.
    """
    rows = join(ids, mask, completion)
    with _labelled_only(ids.device):
        found = model(input_ids=rows.ids, attention_mask=rows.mask, labels=rows.labels, fused_lm_head=True)
    hidden = mask[:, -completion:] == 0
    logprobs, entropies = (
        None if each is None else each.gather(1, rows.places).masked_fill(hidden, 0.0)
        for each in (found.log_probs, found.entropy)
    )
    return logprobs, entropies


@contextmanager
def _labelled_only(device: torch.device) -> Iterator[None]:
    """Has TRL's head score labelled places alone, as it does where there is Triton.

    Elsewhere it scores all of them, so that shapes stay the same for devices that compile; a CPU does not.
    """
    if device.type != "cpu":
        yield
        return
    before = utils._use_triton
    utils._use_triton = lambda _: True
    try:
        yield
    finally:
        utils._use_triton = before
