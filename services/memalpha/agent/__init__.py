"""The agent: one loop that memorizes and recalls, the same in service, training and evaluation.

It is written against three protocols, `MemoryBackend`, `Policy` and `Embedder`, and knows neither network nor
model. Text is cut into chunks (`chunking`); for each chunk the policy sees a view of the memory as a prompt
(`prompts`, in the words of a pack: `packs`), answers with tool calls (`tools`) in some wire format (`wire`),
and these become one record of operations (`operations`, `loop`). Memories that belong together (`related`)
are put in order with the same tools (`consolidate`). A question gets memories (`recall`) or an
answer (`answer`). Where a bank's embedder is outside of its memory, vectors come beside that (`vectors`,
`backfill`). Settings that belong together are `presets`.
"""

from memalpha.agent.agent import Agent
from memalpha.agent.loop import ChunkOutcome, Memorizer, PolicyOutage
from memalpha.agent.presets import preset
from memalpha.agent.protocols import Completion, Embedder, MemoryBackend, Policy
from memalpha.agent.settings import AgentSettings

__all__ = [
    "Agent",
    "AgentSettings",
    "ChunkOutcome",
    "Completion",
    "Embedder",
    "Memorizer",
    "MemoryBackend",
    "Policy",
    "PolicyOutage",
    "preset",
]
