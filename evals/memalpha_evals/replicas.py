"""Several services of one policy, used as one: `HOST:PORT,HOST:PORT`.

All calls on behalf of one stream go to the same one, which has their common prefix in its cache. Which one is
decided by rendezvous hashing (Thaler & Ravishankar 1998): a replica more or less moves only its own share.
A call to one that is away goes to the next of its order, and so do the next `REST` calls that would have gone
there; then it is asked who it is, which takes a moment at most, and if it is who it was, it is asked again. A
call that ran into its own deadline is not made on the next one: it may be the call that takes so long. What
another policy than the described one generates is not taken, so that no run is of two: that replica is away.
Only if none answers is the call unanswered. Those that are away at the beginning are left out. One service
alone is used in the same way.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from hashlib import sha256
from typing import TypeVar

from memalpha.agent import Completion
from memalpha.api.policy.v1alpha1.policy_service_pb2 import (
    GenerateRequest,
    GetPolicyResponse,
    PolicyIdentity,
    ScoreRequest,
    ScoreResponse,
)
from memalpha.errors import InvalidInputError, UnavailableError, make
from memalpha_evals.endpoints import Endpoint, ScoringPolicy, endpoint
from memalpha_evals.scheduler import AFFINITY, CHANGED

R = TypeVar("R", Completion, ScoreResponse)

REST = 16
"""Calls for which a replica that did not answer is not asked first."""
_LATE = "DEADLINE_EXCEEDED"


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

    async def _asked(self, call: Callable[[ScoringPolicy], Awaitable[R]]) -> R:
        errors = list[UnavailableError]()
        for each in self._order():
            try:
                await self._require_back(each)
            except UnavailableError as error:
                errors.append(error)
                continue
            try:
                return _same(each, await call(each.policy))
            except UnavailableError as error:
                self._rest[each.spec] = REST
                if error.reason == _LATE:
                    raise
                errors.append(error)
        # One that is away may come back; one that changed does not.
        raise next((error for error in errors if error.reason != CHANGED), errors[-1])

    async def _require_back(self, each: Endpoint) -> None:
        """Refuses one that was away and is not back; meanwhile others' calls pass it by."""
        if each.spec not in self._rest:
            return
        self._rest[each.spec] = REST
        description = await each.policy.describe()
        if description != each.description:
            raise _changed(each, description.policy)
        self._rest.pop(each.spec, None)

    def _order(self) -> list[Endpoint]:
        """By weight, those at rest behind all others."""
        key = AFFINITY.get()
        found = sorted(self._found, key=lambda each: _weight(key, each.spec), reverse=True)
        first = found[0].spec
        at_rest = {spec for spec, calls in self._rest.items() if calls}
        if first in at_rest:
            self._rest[first] -= 1
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
        found, away = list[Endpoint](), list[str]()
        for place, name in enumerate(names, 1):
            try:
                found.append(await stack.enter_async_context(endpoint(name, wire_format)))
            except UnavailableError:
                if place == len(names) and not found:
                    raise
                away.append(name)
                print(f"policy {name} does not answer: left out", file=sys.stderr)
        alone = len(found) == 1 and not found[0].remote
        policy = found[0].policy if alone else Replicas(found)
        yield replace(found[0], spec=specs, policy=policy, left_out=tuple(away))


def _same(each: Endpoint, reply: R) -> R:
    """What came back, if it is of the policy that was described."""
    if reply.policy != each.description.policy:
        raise _changed(each, reply.policy)
    return reply


def _changed(each: Endpoint, now: PolicyIdentity) -> UnavailableError:
    was = each.description.policy
    how = f"serves {_named(now)} now, and served {_named(was)}"
    if now == was:
        how = "describes itself otherwise than"
    message = f"{each.spec} {how} when it was opened: what two policies generate makes no run"
    return make(UnavailableError, CHANGED, message, spec=each.spec)


def _named(policy: PolicyIdentity) -> str:
    return f"version {policy.policy_version} of {policy.policy_id or 'a policy without a name'}"


def _weight(key: str, spec: str) -> bytes:
    return sha256(f"{spec}\0{key}".encode()).digest()
