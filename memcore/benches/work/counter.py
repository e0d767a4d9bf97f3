"""How much of its speed a pure-Python thread keeps while another thread searches."""

import threading
import time

from measure import Round
from peers import System
from work import Ready
from workload import Workload

LIMIT = 10
_BATCH_SECONDS = 0.2
_SECONDS = 0.6
_MOST_QUERIES = 50_000


def counter(system: System, data: Workload) -> Ready:
    """Percent of the solo rate; solo and beside take turns."""
    system.load(data.memories, data.vectors)
    batch = _batch(system, data)
    assert all(len(hits) == LIMIT for hits in system.words_many(batch[:50], LIMIT))

    def turn() -> Round:
        before = _count()
        beside = _beside(system, batch)
        after = _count()
        return Round([100 * beside / ((before + after) / 2)], None)

    return Ready(turn)


def _batch(system: System, data: Workload) -> list[str]:
    """So many queries that one call takes about 200 ms."""
    few = data.queries[:50]
    start = time.perf_counter()
    system.words_many(few, LIMIT)
    each = (time.perf_counter() - start) / len(few)
    wanted = min(_MOST_QUERIES, max(1, round(_BATCH_SECONDS / each)))
    return [data.queries[i % len(data.queries)] for i in range(wanted)]


def _beside(system: System, batch: list[str]) -> float:
    stop = threading.Event()

    def search() -> None:
        while not stop.is_set():
            system.words_many(batch, LIMIT)

    thread = threading.Thread(target=search)
    thread.start()
    rate = _count()
    stop.set()
    thread.join()
    return rate


def _count() -> float:
    """Steps per second of a loop that holds the GIL."""
    count = 0
    start = time.perf_counter()
    while (elapsed := time.perf_counter() - start) < _SECONDS:
        for _ in range(1000):
            count += 1
    return count / elapsed
