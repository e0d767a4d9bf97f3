"""Recall: what a bank knows about a question.

The question alone is the query. Semantic and episodic memories are searched separately, so that neither
crowds out the other, together with the chunks that are stored but not memorized yet: what was acknowledged is
found at once. Hits and their sources may be long texts; if they do not fit in one reply, fewer are returned.
"""

from __future__ import annotations

from collections.abc import Iterable

from memalpha.agent import checks
from memalpha.agent.context import pack_context
from memalpha.agent.protocols import MemoryBackend
from memalpha.api.agent.v1alpha1.agent_service_pb2 import RecallHit, RecallRequest, RecallResponse
from memalpha.api.memory.v1alpha1.memory_pb2 import Chunk, Memory, MemoryType
from memalpha.api.memory.v1alpha1.memory_service_pb2 import (
    GetWriterViewRequest,
    RecentView,
    SearchHits,
    SearchQuery,
)
from memalpha.errors import OutOfRangeError

DEFAULT_LIMIT = 20
DEFAULT_TOKEN_BUDGET = 4096

# One reply has at most 16 MiB; the rest is for what a channel adds.
_MOST_REPLY_BYTES = 15 << 20
# Chunks come in pages; up to a page's distance, reading on is cheaper than asking again.
_NEAR = 100


async def recall(memory: MemoryBackend, request: RecallRequest) -> RecallResponse:
    """Answers a recall request from a memory.

    Raises:
        InvalidInputError: A parameter breaks its rule.
        NotFoundError: There is no such bank.
    """
    checks.recall_request(request)
    limit = request.limit if request.HasField("limit") else DEFAULT_LIMIT
    while True:
        try:
            response = await _recalled(memory, request, limit)
        except OutOfRangeError:
            if limit == 1:
                raise
        else:
            if limit == 1 or response.ByteSize() <= _MOST_REPLY_BYTES:
                return response
        limit //= 2


async def _recalled(memory: MemoryBackend, request: RecallRequest, limit: int) -> RecallResponse:
    view = await memory.get_writer_view(
        GetWriterViewRequest(bank_id=request.bank_id, recent=RecentView(semantic=0, episodic=0))
    )
    found = await memory.search(request.bank_id, _queries(request.query, limit))
    hits = _hits(found.results)
    budget = request.token_budget if request.HasField("token_budget") else DEFAULT_TOKEN_BUDGET
    memories = [hit.memory for hit in hits if hit.HasField("memory")]
    pending = [hit.pending for hit in hits if hit.HasField("pending")]
    context = pack_context(view.core.content, memories, pending, request.query, budget)
    for hit in hits:
        known = hit.memory.id in context.memory_ids if hit.HasField("memory") else False
        hit.in_context = known or (hit.HasField("pending") and hit.pending.position in context.positions)
    return RecallResponse(
        core=view.core,
        hits=hits,
        context=context.text,
        context_tokens=context.tokens,
        revision=found.revision,
        pending_chunks=view.bank.stats.pending_chunks,
        sources=await _sources(memory, request.bank_id, memories) if request.include_sources else [],
    )


def _queries(text: str, limit: int) -> list[SearchQuery]:
    semantic, episodic = (
        SearchQuery(text=text, types=[kind], limit=limit)
        for kind in (MemoryType.MEMORY_TYPE_SEMANTIC, MemoryType.MEMORY_TYPE_EPISODIC)
    )
    semantic.include_pending = True
    return [semantic, episodic]


def _hits(results: Iterable[SearchHits]) -> list[RecallHit]:
    """Memories best first, equal scores in order of ids; then pending chunks, best first."""
    found = list(results)
    memories = [RecallHit(memory=hit.memory, score=hit.score) for each in found for hit in each.memories]
    memories.sort(key=lambda hit: (-hit.score, hit.memory.id))
    return [
        *memories,
        *(RecallHit(pending=hit.chunk, score=hit.score) for each in found for hit in each.pending),
    ]


async def _sources(memory: MemoryBackend, bank_id: str, memories: Iterable[Memory]) -> list[Chunk]:
    """The chunks that the memories were made from, in order of positions."""
    origins = [each.provenance for each in memories]
    wanted = sorted({origin.chunk_position for origin in origins if origin.HasField("chunk_position")})
    found: list[Chunk] = []
    while wanted:
        found.extend(await _read_on(memory, bank_id, wanted))
    return found


async def _read_on(memory: MemoryBackend, bank_id: str, wanted: list[int]) -> list[Chunk]:
    """The chunks at the first of the positions and at those near behind; takes them off the list."""
    found: list[Chunk] = []
    async for chunk in memory.chunks(bank_id, start=wanted[0]):
        if chunk.position == wanted[0]:
            found.append(chunk)
            wanted.pop(0)
        if not wanted or wanted[0] > chunk.position + _NEAR:
            return found
    wanted.clear()
    return found
