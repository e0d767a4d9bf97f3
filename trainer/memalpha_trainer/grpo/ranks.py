"""What one process does for all that train together; alone, it just does it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object

from memalpha.errors import InternalError, make

T = TypeVar("T")


def on_main(accelerator: Accelerator, work: Callable[[], T]) -> T:
    """What the main process's work returns, on all ranks; if it raises, all ranks do, so that none waits."""
    if accelerator.num_processes == 1:
        return work()
    told: list[Any] = [False, None]
    try:
        if accelerator.is_main_process:
            told = [True, work()]
    finally:
        broadcast_object_list(told)
    if not told[0]:
        raise make(InternalError, "MAIN_RANK_FAILED", "the main process failed; its own error tells why")
    return told[1]


def joined(values: torch.Tensor) -> torch.Tensor:
    """The values (n,) of all ranks, as many as each has."""
    return torch.cat(gather_object([values]))


def listed(values: list[T]) -> list[T]:
    """The entries of all ranks."""
    return [each for part in gather_object([values]) for each in part]
