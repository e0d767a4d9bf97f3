"""What a policy says of itself, remembered for a moment, so that many chunks a second do not each ask for it.

It is asked again after a second, or sooner if something speaks against what it said: a call that failed, or a
completion of another policy. One that is exchanged just then is known no later than one that is exchanged
while it writes.
"""

from __future__ import annotations

import asyncio

from memalpha.agent.protocols import Policy
from memalpha.api.policy.v1alpha1.policy_service_pb2 import GetPolicyResponse, PolicyIdentity

FRESH_SECONDS = 1.0


class Described:
    """A policy's description, for one event loop."""

    def __init__(self, policy: Policy) -> None:
        """Nothing is asked before it is wanted."""
        self._policy = policy
        self._said: GetPolicyResponse | None = None
        self._until = 0.0

    async def now(self) -> GetPolicyResponse:
        """What the policy said within the last second, or says now.

        Raises:
            MemalphaError: What `Policy.describe` raised.
        """
        asked = asyncio.get_running_loop().time()
        if self._said is None or asked >= self._until:
            self.forget()
            self._said, self._until = await self._policy.describe(), asked + FRESH_SECONDS
        return self._said

    def forget(self) -> None:
        """Has the policy asked again, whenever it is wanted next."""
        self._said = None

    def heard(self, policy: PolicyIdentity) -> None:
        """Notes who wrote a completion."""
        if self._said is not None and self._said.policy != policy:
            self.forget()
