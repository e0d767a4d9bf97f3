"""The agent: one loop that memorizes and recalls, the same in service, training and evaluation.

It is written against two protocols, `MemoryBackend` and `Policy`, and knows neither network nor model. Text
is cut into chunks (`chunking`); for each chunk the policy sees a view of the memory as a prompt (`prompts`),
answers with tool calls (`tools`) in some wire format (`wire`), and these become one record of operations
(`operations`, `loop`).
"""

from memalpha.agent.agent import Agent
from memalpha.agent.loop import ChunkOutcome, Memorizer, PolicyOutage
from memalpha.agent.protocols import Completion, MemoryBackend, Policy
from memalpha.agent.settings import AgentSettings

__all__ = [
    "Agent",
    "AgentSettings",
    "ChunkOutcome",
    "Completion",
    "Memorizer",
    "MemoryBackend",
    "Policy",
    "PolicyOutage",
]
