"""Retrieval metrics over the ranks at which evidence was found.

All are pure functions of `ranks`, the places from 1, ascending, of those relevant items that a ranking holds,
and of `relevant`, how many there are at all. A relevant item that the ranking does not hold counts as not
found. Values are from 0 to 1, 1 is best.
"""

from collections.abc import Collection, Mapping, Sequence
from itertools import accumulate
from math import log2


def evidence_ranks(ranking: Sequence[str], evidence: Collection[str]) -> tuple[int, ...]:
    """Places, from 1, of the evidence in a ranking without repetitions."""
    return tuple(place for place, item in enumerate(ranking, start=1) if item in evidence)


def evidence_reads(
    ranking: Sequence[str], evidence: Collection[str], tokens: Mapping[str, int]
) -> tuple[int, ...]:
    """Tokens of a ranking, from its first item to each piece of evidence in it."""
    read = accumulate(tokens[item] for item in ranking)
    return tuple(count for item, count in zip(ranking, read, strict=True) if item in evidence)


def recall_at(ranks: Sequence[int], relevant: int, k: int) -> float:
    """Share of the relevant items that are among the first `k`."""
    return sum(rank <= k for rank in ranks) / relevant


def recall_within(reads: Sequence[int], relevant: int, budget: int) -> float:
    """Share of the relevant items that were read whole when `budget` tokens were.

    `reads` has, for each that a ranking holds, the tokens of it and of all that stands before it.
    """
    return sum(read <= budget for read in reads) / relevant


def reciprocal_rank(ranks: Sequence[int]) -> float:
    """1 / place of the first relevant item; 0 if none was found. Its mean is MRR."""
    return 1 / ranks[0] if ranks else 0.0


def ndcg_at(ranks: Sequence[int], relevant: int, k: int) -> float:
    """Discounted gain of the first `k` as a share of the best possible (Järvelin & Kekäläinen 2002)."""
    best = sum(_discount(rank) for rank in range(1, min(relevant, k) + 1))
    return sum(_discount(rank) for rank in ranks if rank <= k) / best


def _discount(rank: int) -> float:
    return 1 / log2(rank + 1)
