"""BM25 top-10 of six terms."""

import statistics
import time

import workload
from exact import Words, overlap
from measure import Steps
from peers import System
from work import Ready
from workload import Workload

LIMIT = 10
BATCH = 32
_CHECKED = 20
# Where one query takes seconds, fewer are checked.
_CHECK_SECONDS = 5.0
# Queries are drawn to be hard; less than this is another ranking, not another rounding.
_LEAST_OVERLAP = 0.6


def search(system: System, data: Workload) -> Ready:
    """One query at a time; a write before each if the system can show it at once."""
    found = _loaded(system, data)
    live = found_at_once(system, data)

    def ask(i: int) -> object:
        return system.words(data.queries[i % len(data.queries)], LIMIT)

    def write(i: int) -> None:
        system.replace(data.fresh[i])

    return Ready(Steps(ask, write if live else None), found, live)


def search_many(system: System, data: Workload) -> Ready:
    """`BATCH` queries in one call."""
    found = _loaded(system, data)

    def ask(i: int) -> object:
        start = i * BATCH % (len(data.queries) - BATCH)
        return system.words_many(data.queries[start : start + BATCH], LIMIT)

    return Ready(Steps(ask), found)


def show(system: System, data: Workload) -> Ready:
    """A write, and whatever it takes to find it by its words."""
    system.load(data.memories, data.vectors)

    def write(i: int) -> None:
        system.add(data.fresh[i], None)
        system.commit()

    last = len(data.fresh) - 1
    write(last)
    hits = system.positions(system.words(workload.probe(last), LIMIT))
    assert hits[:1] == [len(data.memories)], "after a commit the write must be found"
    return Ready(Steps(write))


def found_at_once(system: System, data: Workload) -> bool:
    """Whether a write is found without a commit."""
    last = len(data.fresh) - 1
    system.add(data.fresh[last], None)
    try:
        hits = system.positions(system.words(workload.probe(last), LIMIT))
    except IndexError:  # rank_bm25 and bm25s have no score for a memory that came after the index
        return False
    return hits[:1] == [len(data.memories)]


def _loaded(system: System, data: Workload) -> float:
    system.load(data.memories, data.vectors)
    asked = data.queries[:_CHECKED]
    right = Words(data.memories, asked, system.formula)
    shares = []
    deadline = time.monotonic() + _CHECK_SECONDS
    for query in asked:
        shares.append(overlap(right.scores(query), system.positions(system.words(query, LIMIT)), LIMIT))
        if time.monotonic() > deadline:
            break
    found = statistics.mean(shares)
    assert found >= _LEAST_OVERLAP, f"found {found:.0%} of the exact top {LIMIT}"
    return found
