"""SearchMemories over gRPC: CPU of the server's process per query. The load comes from a process in Rust."""

import time
from functools import partial

from measure import Round
from peers import System
from peers.load import run_load
from peers.memcore_store import BANK
from work import Ready
from workload import Workload

BATCH = 32
_QUERIES = 6_400


def _served(system: System, data: Workload, batch: int) -> Ready:
    system.load(data.memories, data.vectors)
    address = system.serve(data.queries[:batch])
    arguments = ["search", address, BANK, str(batch), str(_QUERIES // batch)]

    def turn() -> Round:
        cpu = time.process_time()
        values, _ = run_load(arguments, data.queries)
        return Round([value / batch for value in values], (time.process_time() - cpu) * 1e6 / _QUERIES)

    turn()
    return Ready(turn)


unary = partial(_served, batch=1)
batched = partial(_served, batch=BATCH)
