"""The pieces alone: what no search or write of this kind can be faster than on this machine."""

import numpy as np

import memcore
from measure import Steps
from peers import System
from work import Ready
from workload import DIMENSIONS, Workload

_LIMIT = 10


def call(system: System, data: Workload) -> Ready:
    """A search by words in a bank that holds nothing: Python, the border, and the query's terms."""
    return Ready(Steps(lambda i: system.words(data.queries[i % len(data.queries)], _LIMIT)))


def tokens(_system: System, data: Workload) -> Ready:
    """Counting one memory's o200k tokens, which every write has to."""
    return Ready(Steps(lambda i: memcore.count_tokens(data.fresh[i % len(data.fresh)])))


def read(_system: System, data: Workload) -> Ready:
    """Reading one byte for each dimension of all vectors, as an exact scan must at least."""
    codes = np.ones(len(data.memories) * DIMENSIONS // 8, np.int64)
    return Ready(Steps(lambda _: codes.sum()))
