"""The runner that this one is compared with: batches in lock step, as the Mem-alpha reference evaluates.

Its `main.py` (wangyu-ustc/Mem-alpha, 9c0e1f6) takes 32 conversations at a time; all read their next chunk in
one generation, which ends with its slowest prompt; a conversation that has ended leaves its place empty. Then
the batch's questions are answered, 32 at a time, each lot ending with its slowest. Only the order of calls is
rebuilt here, not what that code spends besides: it is favoured.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from time import perf_counter
from typing import TypeVar

from memalpha_evals.bench.stub import Latencies

BATCH = 32

T = TypeVar("T")


async def run(times: Latencies) -> float:
    """Makes all calls; seconds."""
    start = perf_counter()
    for steps, answers in zip(_lots(times.steps), _lots(times.answers), strict=True):
        for place in range(max(map(len, steps))):
            await _together([each[place] for each in steps if place < len(each)])
        for lot in _lots([seconds for each in answers for seconds in each]):
            await _together(lot)
    return perf_counter() - start


async def _together(lot: Sequence[float]) -> None:
    await asyncio.gather(*(asyncio.sleep(seconds) for seconds in lot))


def _lots(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for begin in range(0, len(items), BATCH):
        yield items[begin : begin + BATCH]
