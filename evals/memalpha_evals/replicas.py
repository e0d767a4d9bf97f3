"""Several services of one policy, used as one: `HOST:PORT,HOST:PORT`.

All calls on behalf of one stream go to the same one, which has their common prefix in its cache. Which one is
decided by rendezvous hashing (Thaler & Ravishankar 1998): a replica more or less moves only its own share.
A call to one that is away goes to the next of its order, and so do the next `REST` calls that would have gone
there; then it is asked again. Only if none answers is the call unanswered. Those that are away at the
beginning are left out.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from hashlib import sha256
from typing import TypeVar

from memalpha.agent import Completion
from memalpha.api.policy.v1alpha1.policy_service_pb2 import (
    GenerateRequest,
    GetPolicyResponse,
    ScoreRequest,
    ScoreResponse,
)
from memalpha.errors import InvalidInputError, UnavailableError, make
from memalpha_evals.endpoints import Endpoint, ScoringPolicy, endpoint
from memalpha_evals.scheduler import AFFINITY

T = TypeVar("T")

REST = 16
"""Calls for which a replica that did not answer is not asked first."""


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
        self._rest: dict[str, int] = {}

    async def generate(self, request: GenerateRequest) -> Completion:
        """See `Policy`."""
        return await self._asked(lambda policy: policy.generate(request))

    async def score(self, request: ScoreRequest) -> ScoreResponse:
        """See `ScoringPolicy`."""
        return await self._asked(lambda policy: policy.score(request))

    async def describe(self) -> GetPolicyResponse:
        """See `Policy`."""
        return self._found[0].description

    async def _asked(self, call: Callable[[ScoringPolicy], Awaitable[T]]) -> T:
        *others, last = self._order()
        for each in others:
            try:
                return await call(each.policy)
            except UnavailableError:
                self._rest[each.spec] = REST
        return await call(last.policy)

    def _order(self) -> list[Endpoint]:
        """By weight, those at rest behind all others."""
        key = AFFINITY.get()
        found = sorted(self._found, key=lambda each: _weight(key, each.spec), reverse=True)
        first = found[0].spec
        at_rest = {spec for spec, calls in self._rest.items() if calls}
        self._rest[first] = max(0, self._rest.get(first, 0) - 1)
        return sorted(found, key=lambda each: each.spec in at_rest)


@asynccontextmanager
async def opened(specs: str, wire_format: str = "") -> AsyncIterator[Endpoint]:
    """What one or more specs, separated by commas, name; see `endpoints.endpoint`.

    Raises:
        InvalidInputError: REPLICAS_DIFFER, or as `endpoint`.
        UnavailableError: As `endpoint`; nobody answers at any.
    """
    async with AsyncExitStack() as stack:
        names = dict.fromkeys(part.strip() for part in specs.split(","))
        found = list[Endpoint]()
        for place, name in enumerate(names, 1):
            try:
                found.append(await stack.enter_async_context(endpoint(name, wire_format)))
            except UnavailableError:
                if place == len(names) and not found:
                    raise
        yield replace(found[0], spec=specs, policy=found[0].policy if len(found) == 1 else Replicas(found))


def _weight(key: str, spec: str) -> bytes:
    return sha256(f"{spec}\0{key}".encode()).digest()
