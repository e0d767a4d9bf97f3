"""64 durable writes of 64 writers: microseconds for all of them."""

from measure import Round, Steps
from peers import System
from peers.durable import WRITERS, Durable
from peers.load import run_load
from peers.memcore_store import BANK, MemcoreStore
from work import Ready
from workload import Workload

_EACH_IN_RUST = 200


def write(system: System, data: Workload) -> Ready:
    """From Python."""
    assert isinstance(system, Durable)

    def step(i: int) -> None:
        system.write([f"{data.memories[n % len(data.memories)]} {i} {n}" for n in range(system.at_once)])

    before = system.held()
    step(-1)
    assert system.held() == before + system.at_once, "what was acknowledged must be on disk"
    return Ready(Steps(step, scale=WRITERS / system.at_once))


def write_from_rust(system: System, _data: Workload) -> Ready:
    """From 64 Rust threads through the same engine."""
    assert isinstance(system, MemcoreStore)
    system.fill({BANK: []})

    def turn() -> Round:
        arguments = ["write", str(system.directory), BANK, str(WRITERS), str(_EACH_IN_RUST)]
        values, cpu = run_load(arguments)
        return Round(values, cpu / _EACH_IN_RUST)

    turn()
    return Ready(turn)
