"""The policy service: `PolicyService` over one engine."""

from collections.abc import AsyncIterator

import grpc

from memalpha.api.policy.v1alpha1.policy_service_pb2 import (
    GenerateRequest,
    GenerateResponse,
    GetPolicyRequest,
    GetPolicyResponse,
)
from memalpha.api.policy.v1alpha1.policy_service_pb2_grpc import (
    PolicyServiceServicer,
    add_PolicyServiceServicer_to_server,
)
from memalpha.client.methods import POLICY
from memalpha.errors import UnsupportedError, make
from memalpha.policy.engine import Engine
from memalpha.services.serving import Answer, Gate, serve

# Completions at once; more would only wait for each other inside the engine.
_MAX_COMPLETIONS = 64


class PolicyServicer(PolicyServiceServicer):
    """Answers with what an engine generates; cancelling a call ends its generation."""

    def __init__(self, engine: Engine) -> None:
        """Over a started engine."""
        self._engine = engine
        self._completions = Gate(_MAX_COMPLETIONS)
        self._questions = Gate()

    async def Generate(
        self, request: GenerateRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[GenerateResponse]:
        """Streams the pieces of one completion."""
        async with Answer(self._completions, context):
            self._check_version(request)
            async for piece in self._engine.generate(request):
                yield piece

    async def GetPolicy(
        self, request: GetPolicyRequest, context: grpc.aio.ServicerContext
    ) -> GetPolicyResponse:
        """Describes the engine's policy."""
        async with Answer(self._questions, context):
            return self._engine.describe()

    def _check_version(self, request: GenerateRequest) -> None:
        if not request.HasField("min_policy_version"):
            return
        served, needed = self._engine.describe().policy.policy_version, request.min_policy_version
        if served < needed:
            message = f"min_policy_version {needed}: the served weights are version {served}"
            raise make(UnsupportedError, "POLICY_TOO_OLD", message, served=served, min_policy_version=needed)


async def run(engine: Engine, address: str, grace_seconds: float) -> int:
    """Serves an engine until the process is told to stop; returns the exit status."""
    servicer = PolicyServicer(engine)
    return await serve(
        address,
        POLICY,
        lambda server: add_PolicyServiceServicer_to_server(servicer, server),
        grace_seconds=grace_seconds,
    )
