"""The ten nearest of 384-d unit vectors, and words and vectors together."""

import statistics

import exact
from measure import Steps
from peers import System
from work import Ready
from workload import Workload

LIMIT = 10
_CHECKED = 50
_LEAST_RECALL = 0.8


def search(system: System, data: Workload) -> Ready:
    """One query at a time."""
    system.load(data.memories, data.vectors)
    recall = statistics.mean(
        exact.overlap(
            exact.products(data.vectors, query), system.positions(system.vector(query, LIMIT)), LIMIT
        )
        for query in data.query_vectors[:_CHECKED]
    )
    assert recall >= _LEAST_RECALL, f"recall@{LIMIT} is {recall:.3f}"
    return Ready(Steps(lambda i: system.vector(_asked(data, i), LIMIT)), recall, _found_at_once(system, data))


def hybrid(system: System, data: Workload) -> Ready:
    """One query at a time. Fusions differ, so the check is only that nine in ten hits are near a top."""
    system.load(data.memories, data.vectors)
    asked = data.queries[:_CHECKED]
    words = exact.Words(data.memories, asked, system.formula)
    for query, vector in zip(asked, data.query_vectors, strict=False):
        hits = system.positions(system.hybrid(query, vector, LIMIT))
        wide = 20 * LIMIT
        by_words = exact.overlap(words.scores(query), hits, wide)
        by_vector = exact.overlap(exact.products(data.vectors, vector), hits, wide)
        assert len(hits) == LIMIT
        assert (by_words + by_vector) * wide >= 0.9 * LIMIT, "hits must be near the top of a ranking"

    def ask(i: int) -> object:
        return system.hybrid(data.queries[i % len(data.queries)], _asked(data, i), LIMIT)

    return Ready(Steps(ask))


def _asked(data: Workload, i: int) -> exact.Vectors:
    return data.query_vectors[i % len(data.query_vectors)]


def _found_at_once(system: System, data: Workload) -> bool:
    system.add(data.fresh[-1], data.fresh_vectors[-1])
    return system.positions(system.vector(data.fresh_vectors[-1], LIMIT))[:1] == [len(data.memories)]
