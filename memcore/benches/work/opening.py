"""Opening a store with many banks, its files not in the page cache; a bank is read when it is first used."""

import os
import time
from pathlib import Path

import memcore
from measure import Round, Steps
from peers import System
from peers.memcore_store import MemcoreStore
from work import Ready
from workload import Workload

BANKED = 100
_BANKS_PER_TURN = 50


def open_store(system: System, data: Workload) -> Ready:
    """Until the store answers."""
    directory = _filled(system, data)
    return Ready(Steps(lambda _: memcore.Store.open(directory).close(), between=lambda _: _forget(directory)))


def first_search(system: System, data: Workload) -> Ready:
    """The first search of a bank in a store just opened."""
    directory = _filled(system, data)
    banks = len(data.memories) // BANKED

    def turn() -> Round:
        _forget(directory)
        values = []
        with memcore.Store.open(directory) as store:
            for n in range(0, banks, max(1, banks // _BANKS_PER_TURN)):
                query = data.memories[n * BANKED]
                start = time.perf_counter_ns()
                [hits] = store.bank(f"bank{n}").search([query], limit=1)
                values.append((time.perf_counter_ns() - start) / 1e3)
                assert hits[0].memory.content == query
        return Round(values, None)

    return Ready(turn)


def _filled(system: System, data: Workload) -> Path:
    assert isinstance(system, MemcoreStore)
    texts = data.memories
    banks = {
        f"bank{start // BANKED}": texts[start : start + BANKED] for start in range(0, len(texts), BANKED)
    }
    system.fill(banks)
    with memcore.Store.open(system.directory) as store:
        assert len(store.bank_ids()) == len(banks)
    return system.directory


def _forget(directory: Path) -> None:
    for path in directory.iterdir():
        file = os.open(path, os.O_RDONLY)
        os.fsync(file)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(file)
