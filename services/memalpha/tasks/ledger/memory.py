"""From a stream to a memory to answers, through the real path.

Chunks go into a volatile bank of a store in RAM; the agent's own loop shows the view to the policy, parses
its text and applies the operations. A question is one search by words of the same bank. No model takes part
but the policy's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import memcore
from memalpha.agent import AgentSettings, Policy
from memalpha.api.memory.v1alpha1.memory_pb2 import BankSettings, Durability, Embedder, EmbedderKind
from memalpha.api.memory.v1alpha1.memory_service_pb2 import (
    GetWriterViewRequest,
    RecentView,
    SearchMethod,
    SearchQuery,
)
from memalpha.tasks.instance import Instance
from memalpha.tasks.ledger.context import MOST_CORE_TOKENS, MOST_MEMORIES, Context, render_context
from memalpha.tasks.memorized import Memorized, memorize

View = Literal["relevant", "recent"]
SHOWN = 4
"""Memories of each type that a writer sees."""

BANK = BankSettings(
    durability=Durability.DURABILITY_VOLATILE,
    core_token_limit=MOST_CORE_TOKENS,
    embedder=Embedder(kind=EmbedderKind.EMBEDDER_KIND_NONE),
)
"""Of a stream's bank: in RAM, words only."""


@dataclass(frozen=True, slots=True)
class Written(Memorized):
    """A memory that a policy wrote, ready to be asked."""

    async def contexts(self, questions: Sequence[str]) -> list[Context]:
        """What a reader gets for each question."""
        bank_id = self.bank.bank_id
        nothing = RecentView(semantic=0, episodic=0)
        view = await self.client.get_writer_view(GetWriterViewRequest(bank_id=bank_id, recent=nothing))
        queries = [
            SearchQuery(text=question, limit=MOST_MEMORIES, method=SearchMethod.SEARCH_METHOD_WORDS)
            for question in questions
        ]
        found = await self.client.search(bank_id, queries)
        return [
            render_context(view.core.content, [hit.memory for hit in hits.memories]) for hits in found.results
        ]


def agent_settings(
    *, view: View = "relevant", shown: int = SHOWN, prompt_pack: str = "default"
) -> AgentSettings:
    """How an agent reads a stream: which memories it is shown and how many of each type, in whose words."""
    return AgentSettings(
        view=view,
        semantic=shown,
        episodic=shown,
        prompt_pack=prompt_pack,
        core_tokens=MOST_CORE_TOKENS,
        vectors=False,
    )


async def write(
    store: memcore.Store, instance: Instance, policy: Policy, settings: AgentSettings | None = None
) -> Written:
    """Has a policy memorize a stream, in a new bank of the store.

    Args:
        store: In memory.
        instance: Its chunks are memorized one by one.
        policy: Writes the memory.
        settings: Of the agent; None means `agent_settings()`.
    """
    done = await memorize(store, instance, policy, settings or agent_settings(), BANK)
    return Written(done.client, done.bank, done.outcomes)
