"""Clients of PolicyService; the asynchronous one is a `Policy` of the agent loop."""

from typing import Self

from memalpha.agent.protocols import Completion
from memalpha.api.policy.v1alpha1.policy_service_pb2 import (
    GenerateRequest,
    GetPolicyRequest,
    GetPolicyResponse,
    LoadWeightsRequest,
    LoadWeightsResponse,
    ScoreRequest,
    ScoreResponse,
)
from memalpha.client import methods
from memalpha.client.base import AsyncClient, Client, deadline
from memalpha.transport import AsyncGrpcTransport, GrpcTransport

_GENERATING_SECONDS = 600.0


class PolicyClient(Client[GrpcTransport]):
    """Blocking client of PolicyService."""

    @classmethod
    def connect(cls, address: str) -> Self:
        """A client of the policy service at `host:port`."""
        return cls(GrpcTransport(address))

    def generate(self, request: GenerateRequest) -> Completion:
        """Completes one prompt, within 600 seconds.

        Raises:
            UnavailableError, BusyError: The policy is not to be had now.
            MemalphaError: Any other means that it refuses this very prompt.
        """
        replies = self._transport.stream(methods.GENERATE, request, timeout=_GENERATING_SECONDS)
        return Completion.joined(list(replies))

    def describe(self) -> GetPolicyResponse:
        """Identity, limits and wire format of the policy that is served."""
        request = GetPolicyRequest()
        return self._transport.call(methods.GET_POLICY, request, timeout=deadline(request))

    def score(self, request: ScoreRequest) -> ScoreResponse:
        """Logprobs of given tokens, within 600 seconds.

        Raises:
            UnsupportedError: UNIMPLEMENTED: `describe` says that there are none; or POLICY_TOO_OLD.
        """
        return self._transport.call(methods.SCORE, request, timeout=_GENERATING_SECONDS)

    def load_weights(self, request: LoadWeightsRequest) -> LoadWeightsResponse:
        """Has other weights served, within 600 seconds; safe to repeat.

        Raises:
            UnsupportedError: UNIMPLEMENTED: `describe` says that there is no such thing.
            ConflictError: PROBE_FAILED: they are not what the probe expects; the old ones are served on.
        """
        return self._transport.call(methods.LOAD_WEIGHTS, request, timeout=_GENERATING_SECONDS)


class AsyncPolicyClient(AsyncClient[AsyncGrpcTransport]):
    """Asynchronous client of PolicyService."""

    @classmethod
    def connect(cls, address: str) -> Self:
        """A client of the policy service at `host:port`."""
        return cls(AsyncGrpcTransport(address))

    async def generate(self, request: GenerateRequest) -> Completion:
        """As `PolicyClient.generate`."""
        replies = self._transport.stream(methods.GENERATE, request, timeout=_GENERATING_SECONDS)
        return Completion.joined([piece async for piece in replies])

    async def describe(self) -> GetPolicyResponse:
        """As `PolicyClient.describe`."""
        request = GetPolicyRequest()
        return await self._transport.call(methods.GET_POLICY, request, timeout=deadline(request))

    async def score(self, request: ScoreRequest) -> ScoreResponse:
        """As `PolicyClient.score`."""
        return await self._transport.call(methods.SCORE, request, timeout=_GENERATING_SECONDS)

    async def load_weights(self, request: LoadWeightsRequest) -> LoadWeightsResponse:
        """As `PolicyClient.load_weights`."""
        return await self._transport.call(methods.LOAD_WEIGHTS, request, timeout=_GENERATING_SECONDS)
