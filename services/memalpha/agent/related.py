"""Which memories belong together: pieces of a bank that can be put in order one at a time.

Every memory is searched for, and what is found beside it is its relative, the closer the nearer its score is
to that of the memory itself, or by its cosine, if that is high: words that are rare in the bank weigh so much
that texts with all others in common may score low. Relatives are joined closest first, so that duplicates
meet before groups are full; small groups then share a piece. A memory without relatives is in no piece,
unless all fit into one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from memalpha.agent.operations import cut
from memalpha.agent.protocols import MemoryBackend
from memalpha.api.memory.v1alpha1.memory_pb2 import Memory
from memalpha.api.memory.v1alpha1.memory_service_pb2 import MemoryHit, SearchHits, SearchQuery
from memalpha.errors import OutOfRangeError

# Most relatives of one memory; of a memory with more copies than that, every copy finds others.
_MOST_RELATIVES = 8
# Share of a memory's own score that its relatives have at least.
_LEAST_SHARE = 0.3
# Cosine from which on memories are relatives whatever their scores.
_LEAST_COSINE = 0.8
# What a memory is about stands at its beginning; longer queries cost more and find no more.
_MOST_QUERY_BYTES = 2048
_QUERIES = 64


@dataclass(slots=True)
class Relatives:
    """What was found beside some memories: closeness of pairs of ids, the lower first, and the memories."""

    closeness: dict[tuple[int, int], float] = field(default_factory=dict)
    found: dict[int, Memory] = field(default_factory=dict)


async def relatives(memory: MemoryBackend, bank_id: str, memories: Sequence[Memory]) -> Relatives:
    """Searches a bank for the relatives of memories."""
    together = Relatives()
    at_once, start = _QUERIES, 0
    while start < len(memories):
        batch = memories[start : start + at_once]
        try:
            reply = await memory.search(bank_id, [_query(each) for each in batch])
        except OutOfRangeError:
            if at_once == 1:
                raise
            at_once //= 2
            continue
        for each, hits in zip(batch, reply.results, strict=True):
            _note(together, each, hits)
        start += len(batch)
    return together


def _query(memory: Memory) -> SearchQuery:
    """The memory's own words; neighbours and dates would say where it stands, not what it says."""
    text, limit = cut(memory.content, _MOST_QUERY_BYTES), _MOST_RELATIVES + 1
    return SearchQuery(text=text, limit=limit, context_weight=0, date_weight=0, explain=True)


def _note(together: Relatives, memory: Memory, hits: SearchHits) -> None:
    own = next((hit.score for hit in hits.memories if hit.memory.id == memory.id), 0.0)
    for hit in hits.memories:
        close = _closeness(hit, own)
        if hit.memory.id != memory.id and close:
            low, high = sorted((memory.id, hit.memory.id))
            together.closeness[low, high] = max(close, together.closeness.get((low, high), 0.0))
            together.found[hit.memory.id] = hit.memory


def _closeness(hit: MemoryHit, own: float) -> float:
    """From 0, for strangers, to 1."""
    if hit.score <= 0:
        return 0.0
    # With more copies than hits, a memory does not find itself: all that it finds are as good.
    share, cosine = hit.score / own if own > 0 else 1.0, hit.explanation.vector_score
    counts = [share] * (share >= _LEAST_SHARE) + [cosine] * (cosine >= _LEAST_COSINE)
    return min(1.0, max(counts, default=0.0))


def pieces(closeness: Mapping[tuple[int, int], float], leaders: Iterable[int], most: int) -> list[list[int]]:
    """Groups of relatives of at most `most` ids, small ones together, in order of their first leaders.

    Args:
        closeness: Of pairs of ids.
        leaders: Ids whose relatives were searched for; every pair has one of them.
        most: Memories in one piece.
    """
    wanted = set(leaders)
    if len(wanted) <= most and all({*pair} <= wanted for pair in closeness):
        return [sorted(wanted)] if len(wanted) > 1 else []
    # Leaders first, so that the first half of a piece that is cut in two has its first leader.
    groups = [sorted(group, key=lambda id: (id not in wanted, id)) for group in _groups(closeness, most)]
    packed: list[list[int]] = []
    for group in sorted(group for group in groups if group[0] in wanted):
        if packed and len(packed[-1]) + len(group) <= most:
            packed[-1] += group
        else:
            packed.append(group)
    return packed


def _groups(closeness: Mapping[tuple[int, int], float], most: int) -> list[set[int]]:
    """Joins the closest pairs first; groups that would grow beyond `most` stay apart."""
    group_of = {id: {id} for pair in closeness for id in pair}
    for low, high in sorted(closeness, key=lambda pair: (-closeness[pair], pair)):
        one, other = group_of[low], group_of[high]
        if one is not other and len(one) + len(other) <= most:
            joined = one | other
            group_of |= dict.fromkeys(joined, joined)
    return list({id(group): group for group in group_of.values()}.values())
