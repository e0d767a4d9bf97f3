"""From rows to the tensors that TRL's loss reads, so that the gradient is exactly the stated one.

The loss of an optimizer step is, with u optimizer steps on a collection of rows i with tokens t,

    L = sum of w_i l_it over its rows / (N / u),    N = sum of w_i n_i over all trained rows

where l is the clipped loss of a token, and w the row's weight. Weights are scaled so that N is the number of
trained tokens: equal ones are exactly one. They are handed over as TRL's mask of tokens that count
(`tool_mask`), which multiplies all terms of the loss alike. A row that is not trained on is left out; so is
one that could only add zeros, but for its tokens in N.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import torch

from memalpha_trainer.grpo.packing import PADDING, pack

Tensors = dict[str, torch.Tensor]


class Row(Protocol):
    """What is needed of a row; `credit.rows.Row` is one."""

    @property
    def prompt_ids(self) -> tuple[int, ...]:
        """Token ids of the prompt."""
        ...

    @property
    def completion_ids(self) -> tuple[int, ...]:
        """Token ids that were sampled."""
        ...

    @property
    def logprobs(self) -> tuple[float, ...]:
        """Theirs, under the distribution that was sampled from."""
        ...

    @property
    def advantage(self) -> float | tuple[float, ...]:
        """Of the row, or of each sampled token."""
        ...

    @property
    def trained(self) -> bool:
        """False if it is masked."""
        ...

    @property
    def weight(self) -> float:
        """Of each of its tokens, relative to other rows'."""
        ...


R = TypeVar("R", bound=Row)


@dataclass(frozen=True, slots=True)
class Loss:
    """What rows weigh in the loss.

    Attributes:
        scale: What a row's weight is multiplied by.
        tokens: Trained tokens of the collection: the normaliser.
    """

    scale: float
    tokens: int


@dataclass(frozen=True, slots=True)
class Packed(Generic[R]):
    """A collection as one rank trains on it.

    Attributes:
        rows: Those of all ranks that are passed over.
        tensors: Of each of this rank's micro-batches: as `collate` has them, and `row` (B,), places in `rows`
            or `PADDING`.
    """

    rows: list[R]
    tensors: list[Tensors]


def weigh(rows: Sequence[Row]) -> Loss:
    """The loss that rows make together."""
    lengths = [(row.weight, len(row.completion_ids)) for row in rows if counts(row)]
    tokens = sum(length for _, length in lengths)
    weighted = sum(weight * length for weight, length in lengths)
    return Loss(tokens / weighted if weighted else 0.0, tokens)


def counts(row: Row) -> bool:
    """Whether a row's tokens are trained on."""
    return row.trained and bool(row.completion_ids)


def moves(row: Row, *, kl: bool = False) -> bool:
    """Whether a row's gradient can be other than zero."""
    return counts(row) and row.weight > 0 and (kl or any(_advantages(row)))


def packed(
    rows: Sequence[R],
    *,
    updates: int,
    micro_batches: int,
    pad: int,
    ranks: int = 1,
    rank: int = 0,
    seed: int = 0,
    kl: bool = False,
) -> Packed[R]:
    """A rank's micro-batches of a collection; see `packing.pack`.

    Args:
        rows: Of all ranks, the same on each.
        updates: Optimizer steps.
        micro_batches: Of each.
        pad: Token id of places that are masked.
        ranks: Processes that train.
        rank: This one.
        seed: See `pack`.
        kl: Whether the loss has a term of its own for rows without advantage.
    """
    active = [row for row in rows if moves(row, kl=kl)]
    lengths = [len(row.prompt_ids) + len(row.completion_ids) for row in active]
    places = pack(lengths, updates=updates, micro_batches=micro_batches, ranks=ranks, seed=seed)[rank]
    loss = weigh(rows)
    tensors = [
        collate([None if place == PADDING else active[place] for place in part], loss, pad)
        | {"row": torch.tensor(part)}
        for part in places
    ]
    return Packed(active, tensors)


def collate(rows: Sequence[Row | None], loss: Loss, pad: int) -> Tensors:
    """One micro-batch: prompts (B, P) padded on the left, completions (B, C) on the right.

    Returns:
        `prompt_ids`, `prompt_mask`, `completion_ids`, `completion_mask`; `tool_mask` (B, C), the weights of
        tokens; `advantages` (B,), or (B, C) if a row has one for each token; `old_per_token_logps` (B, C),
        logprobs under the distribution that was sampled from; `num_items_in_batch`.
    """
    prompts = [list(row.prompt_ids) if row else [pad] for row in rows]
    completions = [list(row.completion_ids) if row else [pad] for row in rows]
    weights = [[row.weight * loss.scale] * len(row.completion_ids) if row else [0.0] for row in rows]
    kept = [[1] * len(row.completion_ids) if row else [0] for row in rows]
    return {
        "prompt_ids": _filled(prompts, pad, left=True),
        "prompt_mask": _filled([[1] * len(ids) for ids in prompts], 0, left=True),
        "completion_ids": _filled(completions, pad),
        "completion_mask": _filled(kept, 0),
        "tool_mask": _filled(weights, 0.0),
        "advantages": _advantage_tensor(rows),
        "old_per_token_logps": _filled([list(row.logprobs) if row else [0.0] for row in rows], 0.0),
        "num_items_in_batch": torch.tensor(float(loss.tokens)),
    }


def _advantages(row: Row) -> tuple[float, ...]:
    return row.advantage if isinstance(row.advantage, tuple) else (row.advantage,)


def _advantage_tensor(rows: Sequence[Row | None]) -> torch.Tensor:
    if not any(row and isinstance(row.advantage, tuple) for row in rows):
        return torch.tensor([_advantages(row)[0] if row else 0.0 for row in rows])
    return _filled([_each(row) if row else [0.0] for row in rows], 0.0)


def _each(row: Row) -> list[float]:
    """Advantages of a row's tokens."""
    found = _advantages(row)
    return list(found) if isinstance(row.advantage, tuple) else list(found) * len(row.completion_ids)


def _filled(
    lists: Sequence[list[int]] | Sequence[list[float]], filler: float, *, left: bool = False
) -> torch.Tensor:
    """Lists as rows of one tensor, filled up to the longest."""
    width = max(map(len, lists))
    gaps = [[filler] * (width - len(each)) for each in lists]
    pairs = zip(gaps, lists, strict=True)
    return torch.tensor([gap + each if left else each + gap for gap, each in pairs])
