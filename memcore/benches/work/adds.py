"""Adding one memory to a full bank, until it can be found."""

import workload
from measure import Steps
from peers import System
from work import Ready
from workload import Workload


def add(system: System, data: Workload) -> Ready:
    """One at a time, with its vector, and found by it."""
    system.load(data.memories, data.vectors)
    system.add(data.fresh[-1], data.fresh_vectors[-1])
    hits = system.positions(system.vector(data.fresh_vectors[-1], 1))
    assert hits == [len(data.memories)], "what was written must be found at once"
    return Ready(Steps(lambda i: system.add(data.fresh[i], data.fresh_vectors[i])), live=True)


def add_text(system: System, data: Workload) -> Ready:
    """One at a time, without a vector, and found by its words."""
    system.load(data.memories, data.vectors[:0])
    last = len(data.fresh) - 1
    system.add(data.fresh[last], None)
    system.commit()
    hits = system.positions(system.words(workload.probe(last), 1))
    assert hits == [len(data.memories)], "what was written must be found at once"

    def step(i: int) -> None:
        system.add(data.fresh[i], None)
        system.commit()

    return Ready(Steps(step), live=True)
