"""What is shown from a bank of memories: the block that the agent's recall packs.

The same for every system that writes memories into a bank, so that they differ in what they wrote. Enough
hits are asked for that tokens are the only limit.
"""

from __future__ import annotations

from memalpha.agent import AgentSettings, MemoryBackend
from memalpha.agent.recall import recall
from memalpha.agent.vectors import Vectors
from memalpha.api.agent.v1alpha1.agent_service_pb2 import RecallRequest
from memalpha_evals.protocols import Context

_MOST_HITS = 1000
_LEAST_HITS = 20
_SHORT_MEMORY = 8
"""o200k tokens of a memory that is short with its dash; no more hits than this fills are asked for."""
_NO_VECTORS = Vectors(None, AgentSettings())


async def recalled(memory: MemoryBackend, bank_id: str, question: str, budget: int) -> Context:
    """What recall shows for a question in so many tokens."""
    limit = min(_MOST_HITS, max(_LEAST_HITS, budget // _SHORT_MEMORY))
    request = RecallRequest(bank_id=bank_id, query=question, limit=limit, token_budget=budget)
    found = await recall(memory, request, _NO_VECTORS)
    truncated = not all(hit.in_context for hit in found.hits)
    return Context(found.context, found.context_tokens, await stored_tokens(memory, bank_id), truncated)


async def stored_tokens(memory: MemoryBackend, bank_id: str) -> int:
    """o200k tokens of all memories of a bank."""
    stats = (await memory.get_bank(bank_id)).stats
    return stats.core_tokens + stats.semantic_tokens + stats.episodic_tokens
