"""A policy that is watched: when it has work, what it was asked, and how many tokens it says there were."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from agent_bench.occupancy import Occupancy
from agent_bench.workload import Key, Workload, key_of
from memalpha.agent import Completion, Policy
from memalpha.api.policy.v1alpha1.policy_service_pb2 import GenerateRequest, GetPolicyResponse


@dataclass(slots=True)
class Metered:
    """A `Policy` over another one.

    Attributes:
        policy: Is asked.
        occupancy: Is told.
        clock: Seconds.
        dictated: What stands in the place of the policy's own text; None leaves it.
        requests: All, by completion.
        completions: What came back, before anything was dictated.
    """

    policy: Policy
    occupancy: Occupancy
    clock: Callable[[], float]
    dictated: Workload | None = None
    requests: dict[Key, GenerateRequest] = field(default_factory=dict, init=False)
    completions: list[Completion] = field(default_factory=list, init=False)

    async def generate(self, request: GenerateRequest) -> Completion:
        """See `Policy`."""
        self.requests[key_of(request.chat.messages)] = request
        self.occupancy.enters(self.clock())
        try:
            found = await self.policy.generate(request)
        finally:
            self.occupancy.leaves(self.clock())
        self.completions.append(found)
        return replace(found, text=self.dictated.written(request.chat.messages)) if self.dictated else found

    async def describe(self) -> GetPolicyResponse:
        """See `Policy`."""
        return await self.policy.describe()
