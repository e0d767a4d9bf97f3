"""Several services of one policy, used as one: `HOST:PORT,HOST:PORT`.

All calls on behalf of one stream go to the same one, which has their common prefix in its cache. Which one is
decided by rendezvous hashing (Thaler & Ravishankar 1998): a replica more or less moves only its own share.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from hashlib import sha256

from memalpha.agent import Completion
from memalpha.api.policy.v1alpha1.policy_service_pb2 import (
    GenerateRequest,
    GetPolicyResponse,
    ScoreRequest,
    ScoreResponse,
)
from memalpha.errors import InvalidInputError, make
from memalpha_evals.endpoints import Endpoint, ScoringPolicy, endpoint
from memalpha_evals.scheduler import AFFINITY


class Replicas:
    """A `ScoringPolicy` over others."""

    def __init__(self, found: Sequence[Endpoint]) -> None:
        """Over open endpoints.

        Raises:
            InvalidInputError: REPLICAS_DIFFER.
        """
        for each in found[1:]:
            if each.description != found[0].description:
                message = f"{each.spec} serves another policy than {found[0].spec}: replicas must be alike"
                raise make(InvalidInputError, "REPLICAS_DIFFER", message, spec=each.spec)
        self._found = found

    async def generate(self, request: GenerateRequest) -> Completion:
        """See `Policy`."""
        return await self._chosen().generate(request)

    async def score(self, request: ScoreRequest) -> ScoreResponse:
        """See `ScoringPolicy`."""
        return await self._chosen().score(request)

    async def describe(self) -> GetPolicyResponse:
        """See `Policy`."""
        return self._found[0].description

    def _chosen(self) -> ScoringPolicy:
        return max(self._found, key=lambda each: _weight(AFFINITY.get(), each.spec)).policy


@asynccontextmanager
async def opened(specs: str, wire_format: str = "") -> AsyncIterator[Endpoint]:
    """What one or more specs, separated by commas, name; see `endpoints.endpoint`.

    Raises:
        InvalidInputError: REPLICAS_DIFFER, or as `endpoint`.
        UnavailableError: As `endpoint`.
    """
    async with AsyncExitStack() as stack:
        names = dict.fromkeys(part.strip() for part in specs.split(","))
        found = [await stack.enter_async_context(endpoint(name, wire_format)) for name in names]
        yield found[0] if len(found) == 1 else replace(found[0], spec=specs, policy=Replicas(found))


def _weight(key: str, spec: str) -> bytes:
    return sha256(f"{spec}\0{key}".encode()).digest()
