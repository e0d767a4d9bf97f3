"""Typed clients of the three services, synchronous and asynchronous.

A client turns keywords into a request, picks its deadline, follows page tokens and gives back the protobuf
message of the reply; it keeps no state of its own. Failures are raised as `memalpha.errors.MemalphaError`.
The two forms have the same methods; where one returns an iterator, the other returns an asynchronous one.
"""

from memalpha.client.agent import AgentClient, AsyncAgentClient
from memalpha.client.memory import AsyncMemoryClient, MemoryClient
from memalpha.client.policy import AsyncPolicyClient, PolicyClient

__all__ = [
    "AgentClient",
    "AsyncAgentClient",
    "AsyncMemoryClient",
    "AsyncPolicyClient",
    "MemoryClient",
    "PolicyClient",
]
