"""The policy service: `PolicyService` over one engine."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import cast

import grpc

from memalpha.api.policy.v1alpha1.policy_service_pb2 import (
    GenerateRequest,
    GenerateResponse,
    GetPolicyRequest,
    GetPolicyResponse,
    LoadWeightsRequest,
    LoadWeightsResponse,
    ScoreRequest,
    ScoreResponse,
)
from memalpha.api.policy.v1alpha1.policy_service_pb2_grpc import (
    PolicyServiceServicer,
    add_PolicyServiceServicer_to_server,
)
from memalpha.client.methods import POLICY
from memalpha.policy.checks import checked_generate, checked_score, unimplemented
from memalpha.policy.engine import BoundedEngine, Engine, LoadingEngine, RestartingEngine, ScoringEngine
from memalpha.services.serving import MAX_CALLS, Answer, Gate, serve


class PolicyServicer(PolicyServiceServicer):
    """Answers with what an engine generates; cancelling a call ends its generation."""

    def __init__(self, engine: Engine) -> None:
        """Over a started engine."""
        self._engine = engine
        # The engine knows better than a number of calls when it is too much; some have to come in to be told.
        bound = engine.capacity if isinstance(engine, BoundedEngine) else 0
        self._completions = Gate(bound + MAX_CALLS)
        # Scores take their time, and keep nobody from asking who is served or from giving it weights.
        self._scores = Gate()
        self._questions = Gate()

    async def Generate(
        self, request: GenerateRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[GenerateResponse]:
        """Streams the pieces of one completion."""
        async with Answer(self._completions, context):
            checked = checked_generate(request, self._engine.describe())
            generated = cast(AsyncGenerator[GenerateResponse], self._engine.generate(checked))
            async with aclosing(generated) as pieces:
                async for piece in pieces:
                    yield piece

    async def Score(self, request: ScoreRequest, context: grpc.aio.ServicerContext) -> ScoreResponse:
        """Scores given tokens, with an engine that can."""
        async with Answer(self._scores, context):
            checked = checked_score(request, self._engine.describe())
            return await cast(ScoringEngine, self._engine).score(checked)

    async def LoadWeights(
        self, request: LoadWeightsRequest, context: grpc.aio.ServicerContext
    ) -> LoadWeightsResponse:
        """Exchanges the weights of an engine that lets them be exchanged."""
        async with Answer(self._questions, context):
            described = self._engine.describe()
            if not described.loads_weights:
                raise unimplemented(f"engine {described.engine}: weights are not exchanged")
            return await cast(LoadingEngine, self._engine).load_weights(request)

    async def GetPolicy(
        self, request: GetPolicyRequest, context: grpc.aio.ServicerContext
    ) -> GetPolicyResponse:
        """Describes the engine's policy."""
        async with Answer(self._questions, context):
            return self._engine.describe()


async def run(engine: Engine, address: str, grace_seconds: float) -> int:
    """Serves an engine until the process is told to stop; returns the exit status."""
    servicer = PolicyServicer(engine)
    return await serve(
        address,
        POLICY,
        lambda server: add_PolicyServiceServicer_to_server(servicer, server),
        grace_seconds=grace_seconds,
        serving=(lambda: engine.serving) if isinstance(engine, RestartingEngine) else None,
    )
