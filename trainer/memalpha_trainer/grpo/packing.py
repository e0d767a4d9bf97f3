"""Which row is passed over when, and by whom. Pure, torch-free.

Every row has one place, whatever their number: TRL cuts a collection into equal parts and silently drops what
is left over. What is missing to equal parts is filled up with masked rows, which weigh nothing; a real row in
their place would be trained on twice. Rows of like length go together, because padding is computed too; which
optimizer step a row belongs to is drawn first, so that length does not decide that.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

PADDING = -1
"""Stands for a masked row."""


def pack(
    lengths: Sequence[int], *, updates: int, micro_batches: int, ranks: int = 1, seed: int = 0
) -> list[list[list[int]]]:
    """Places of rows: for each rank, for each micro-batch of the collection, indices into `lengths`.

    At the same place all ranks have the same number of rows, at least one.

    Args:
        lengths: Tokens of each row.
        updates: Optimizer steps of the collection; numbers of rows differ by one at most.
        micro_batches: Of each optimizer step.
        ranks: Processes that train.
        seed: Decides which rows an optimizer step has.
    """
    order = list(range(len(lengths)))
    random.Random(seed).shuffle(order)
    blocks: list[list[int]] = []
    for update in range(updates):
        window = sorted(order[update::updates], key=lambda row: (-lengths[row], row))
        blocks += _blocks(window, micro_batches, ranks)
    return [[block[rank::ranks] for block in blocks] for rank in range(ranks)]


def _blocks(window: list[int], micro_batches: int, ranks: int) -> list[list[int]]:
    parts = micro_batches * ranks
    rows = max(1, -(-len(window) // parts)) * ranks
    padded = window + [PADDING] * (rows * micro_batches - len(window))
    return [padded[start : start + rows] for start in range(0, len(padded), rows)]
