"""What is shown to a reader: one question's memories, first as many as wanted, then ever fewer.

A reader's prompt must fit, and how long it is shows only once it is rendered. So each way to retrieve yields
what it found again and again, each time less; the caller stops at the first that fits.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass

from memalpha.agent import escapes
from memalpha.agent.answer_prompt import LABEL_TOKENS, Shown
from memalpha.agent.protocols import MemoryBackend
from memalpha.agent.recall import DEFAULT_LIMIT, DEFAULT_TOKEN_BUDGET, recall_with_context
from memalpha.agent.settings import AgentSettings
from memalpha.agent.vectors import Vectors
from memalpha.api.agent.v1alpha1.agent_service_pb2 import AnswerRequest, RecallRequest
from memalpha.api.memory.v1alpha1.memory_pb2 import Memory, MemoryType
from memalpha.api.memory.v1alpha1.memory_service_pb2 import (
    GetWriterViewRequest,
    RecentView,
    SearchMethod,
    SearchQuery,
    WordScoring,
)

LEAST_BUDGET = 64

_TYPES = (MemoryType.MEMORY_TYPE_SEMANTIC, MemoryType.MEMORY_TYPE_EPISODIC)


@dataclass(frozen=True, slots=True)
class Retrieved:
    """What to show, and how it was found."""

    shown: Shown
    core: Memory
    revision: int
    pending_chunks: int
    method: SearchMethod.ValueType


async def by_recall(
    memory: MemoryBackend, request: AnswerRequest, vectors: Vectors
) -> AsyncGenerator[Retrieved]:
    """What `recall` packs into the budget of tokens; then into half of it, and so on."""
    asked = RecallRequest(
        bank_id=request.bank_id,
        query=request.question,
        limit=request.limit if request.HasField("limit") else DEFAULT_LIMIT,
        token_budget=request.token_budget if request.HasField("token_budget") else DEFAULT_TOKEN_BUDGET,
        method=request.method,
    )
    while asked.token_budget >= LEAST_BUDGET:
        found, context = await recall_with_context(memory, asked, vectors, LABEL_TOKENS)
        yield Retrieved(
            shown=Shown(context.core, context.memories, context.pending),
            core=found.core,
            revision=found.revision,
            pending_chunks=found.pending_chunks,
            method=found.search_method,
        )
        asked.token_budget //= 2


async def by_okapi(
    memory: MemoryBackend, request: AnswerRequest, settings: AgentSettings
) -> AsyncGenerator[Retrieved]:
    """The best of each type by BM25Okapi, best first; then one fewer of each, down to none.

    Nothing pending, as the paper answers from finished memories only; and no budget but the prompt's.
    """
    limit = request.limit if request.HasField("limit") else settings.retrieved
    nothing = GetWriterViewRequest(bank_id=request.bank_id, recent=RecentView(semantic=0, episodic=0))
    view = await memory.get_writer_view(nothing)
    text = f"{request.prefix}{request.question}" if settings.quirks else request.question
    found = await memory.search(request.bank_id, [_okapi(text, kind, limit) for kind in _TYPES])
    ranked = [[hit.memory for hit in each.memories] for each in found.results]
    for most in range(max(map(len, ranked)), -1, -1):
        memories = [each for best in ranked for each in best[:most]]
        yield Retrieved(
            shown=Shown(escapes.block(view.core.content), memories, ()),
            core=view.core,
            revision=found.revision,
            pending_chunks=view.bank.stats.pending_chunks,
            method=SearchMethod.SEARCH_METHOD_WORDS,
        )


def _okapi(text: str, kind: MemoryType.ValueType, limit: int) -> SearchQuery:
    return SearchQuery(
        text=text,
        types=[kind],
        limit=limit,
        method=SearchMethod.SEARCH_METHOD_WORDS,
        word_scoring=WordScoring(formula=WordScoring.FORMULA_OKAPI),
    )
