"""Recall: what a bank knows about a question.

The question alone is the query. Scores of two queries are not comparable: each has statistics, and for
vectors a scale, of its own. So semantic and episodic memories are ranked together, and that ranking decides
the order; beside it each type is ranked alone, so that neither crowds out the other. What only its own type's
ranking let in comes last. Chunks that are stored but not memorized yet are searched too: what was
acknowledged is found at once. All of it is read at one revision.

A question whose vector cannot be had is answered by words. Hits and their sources may be long texts; if they
do not fit in one reply, fewer are returned.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from memalpha.agent import checks
from memalpha.agent.context import Context, pack_context
from memalpha.agent.protocols import MemoryBackend
from memalpha.agent.vectors import Vectors
from memalpha.api.agent.v1alpha1.agent_service_pb2 import RecallHit, RecallRequest, RecallResponse
from memalpha.api.memory.v1alpha1.memory_pb2 import Bank, Chunk, EmbedderKind, Memory, MemoryType
from memalpha.api.memory.v1alpha1.memory_service_pb2 import (
    GetWriterViewRequest,
    GetWriterViewResponse,
    MemoryHit,
    RecentView,
    SearchHits,
    SearchMethod,
    SearchQuery,
)
from memalpha.errors import OutOfRangeError

DEFAULT_LIMIT = 20
DEFAULT_TOKEN_BUDGET = 4096

_TYPES = (MemoryType.MEMORY_TYPE_SEMANTIC, MemoryType.MEMORY_TYPE_EPISODIC)
# The most that one query may ask for.
_MOST_HITS = 1000
# One reply has at most 16 MiB; the rest is for what a channel adds.
_MOST_REPLY_BYTES = 15 << 20
# Chunks come in pages; up to a page's distance, reading on is cheaper than asking again.
_NEAR = 100


async def recall(memory: MemoryBackend, request: RecallRequest, vectors: Vectors) -> RecallResponse:
    """Answers a recall request from a memory.

    Raises:
        InvalidInputError: A parameter breaks its rule.
        NotFoundError: There is no such bank.
    """
    response, _ = await recall_with_context(memory, request, vectors)
    return response


async def recall_with_context(
    memory: MemoryBackend, request: RecallRequest, vectors: Vectors, label_tokens: int = 0
) -> tuple[RecallResponse, Context]:
    """As `recall`, with the parts of the context; `label_tokens` are kept free before each of them."""
    checks.recall_request(request)
    limit = request.limit if request.HasField("limit") else DEFAULT_LIMIT
    nothing = RecentView(semantic=0, episodic=0)
    view = await memory.get_writer_view(GetWriterViewRequest(bank_id=request.bank_id, recent=nothing))
    query = await _query(request, view.bank, vectors)
    while True:
        try:
            response, context = await _recalled(memory, request, view, query, limit, label_tokens)
        except OutOfRangeError:
            if limit == 1:
                raise
        else:
            if limit == 1 or response.ByteSize() <= _MOST_REPLY_BYTES:
                return response, context
        limit //= 2


async def _query(request: RecallRequest, bank: Bank, vectors: Vectors) -> SearchQuery:
    """The question, with its vector if the bank's embedder is external; by words if it cannot be had."""
    query = SearchQuery(text=request.query, method=request.method)
    external = bank.settings.embedder.kind == EmbedderKind.EMBEDDER_KIND_EXTERNAL
    if external and request.method != SearchMethod.SEARCH_METHOD_WORDS:
        query.embedding_f32_le = await vectors.of_text(bank, request.query)
        if not query.embedding_f32_le:
            query.method = SearchMethod.SEARCH_METHOD_WORDS
    return query


async def _recalled(
    memory: MemoryBackend,
    request: RecallRequest,
    view: GetWriterViewResponse,
    query: SearchQuery,
    limit: int,
    label_tokens: int,
) -> tuple[RecallResponse, Context]:
    found = await memory.search(request.bank_id, _queries(query, limit))
    hits = _hits(found.results, limit)
    budget = request.token_budget if request.HasField("token_budget") else DEFAULT_TOKEN_BUDGET
    memories = [hit.memory for hit in hits if hit.HasField("memory")]
    pending = [hit.pending for hit in hits if hit.HasField("pending")]
    context = pack_context(view.core.content, memories, pending, request.query, budget, label_tokens)
    _mark(hits, context)
    response = RecallResponse(
        core=view.core,
        hits=hits,
        context=context.text,
        context_tokens=context.tokens,
        revision=found.revision,
        pending_chunks=view.bank.stats.pending_chunks,
        sources=await _sources(memory, request.bank_id, memories) if request.include_sources else [],
        search_method=found.results[0].method,
    )
    return response, context


def _mark(hits: Iterable[RecallHit], context: Context) -> None:
    """Says of each hit whether it is in the context."""
    ids = {each.id for each in context.memories}
    positions = {chunk.position for chunk, _ in context.pending}
    for hit in hits:
        is_memory = hit.HasField("memory")
        hit.in_context = hit.memory.id in ids if is_memory else hit.pending.position in positions


def _queries(query: SearchQuery, limit: int) -> list[SearchQuery]:
    """The question to all types together, with room for `limit` of each, and to each type alone."""
    together, *alone = (_narrowed(query, types, limit) for types in (_TYPES, *([kind] for kind in _TYPES)))
    together.limit = min(limit * len(_TYPES), _MOST_HITS)
    alone[0].include_pending = True
    return [together, *alone]


def _narrowed(query: SearchQuery, types: Sequence[MemoryType.ValueType], limit: int) -> SearchQuery:
    narrowed = SearchQuery(types=types, limit=limit)
    narrowed.MergeFrom(query)
    return narrowed


def _hits(results: Sequence[SearchHits], limit: int) -> list[RecallHit]:
    """Memories best first, at most `limit` of each type; then pending chunks, best first."""
    together, *alone = results
    ranks = [enumerate(each.memories) for each in alone]
    left = sorted((item for each in ranks for item in each), key=lambda item: (item[0], item[1].memory.id))
    taken: dict[int, MemoryHit] = {}
    room = dict.fromkeys(_TYPES, limit)
    for hit in [*together.memories, *(hit for _, hit in left)]:
        if room[hit.memory.type] and hit.memory.id not in taken:
            taken[hit.memory.id] = hit
            room[hit.memory.type] -= 1
    pending = [RecallHit(pending=hit.chunk, score=hit.score) for each in alone for hit in each.pending]
    return [*map(_recall_hit, taken.values()), *pending]


def _recall_hit(hit: MemoryHit) -> RecallHit:
    found = RecallHit(memory=hit.memory, score=hit.score)
    if hit.HasField("words_rank"):
        found.words_rank = hit.words_rank
    if hit.HasField("vector_rank"):
        found.vector_rank = hit.vector_rank
    return found


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
