"""The agent service: `AgentService` over one agent, with the worker that memorizes beside it."""

from collections.abc import AsyncIterator
from contextlib import aclosing

import grpc

from memalpha.agent import Agent
from memalpha.api.agent.v1alpha1.agent_service_pb2 import (
    AnswerRequest,
    AnswerResponse,
    ConsolidateRequest,
    ConsolidateResponse,
    MemorizeRequest,
    MemorizeResponse,
    RecallRequest,
    RecallResponse,
)
from memalpha.api.agent.v1alpha1.agent_service_pb2_grpc import (
    AgentServiceServicer,
    add_AgentServiceServicer_to_server,
)
from memalpha.client.methods import AGENT
from memalpha.services.serving import Answer, Gate, serve

_REPLY_SECONDS = 0.25


class AgentServicer(AgentServiceServicer):
    """Answers with what an agent does. Calls that wait for the policy take no place from questions."""

    def __init__(self, agent: Agent) -> None:
        """Over an agent whose worker runs elsewhere."""
        self._agent = agent
        self._memorizing = Gate()
        self._recalling = Gate()
        self._answering = Gate()
        self._consolidating = Gate()

    async def Memorize(self, request: MemorizeRequest, context: grpc.aio.ServicerContext) -> MemorizeResponse:
        """Stores items, and waits until they are memorized if asked to."""
        async with Answer(self._memorizing, context):
            return await self._agent.memorize(request, timeout=_time_to_wait(context))

    async def Recall(self, request: RecallRequest, context: grpc.aio.ServicerContext) -> RecallResponse:
        """Finds what a bank knows about a question."""
        async with Answer(self._recalling, context):
            return await self._agent.recall(request)

    async def Answer(self, request: AnswerRequest, context: grpc.aio.ServicerContext) -> AnswerResponse:
        """Has the reader answer a question."""
        async with Answer(self._answering, context):
            return await self._agent.answer(request)

    async def Consolidate(
        self, request: ConsolidateRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[ConsolidateResponse]:
        """Puts a bank in order; streams what became of each piece. Cancelling the call ends it after one."""
        async with (
            Answer(self._consolidating, context),
            aclosing(self._agent.consolidate(request)) as pieces,
        ):
            async for piece in pieces:
                yield piece


def _time_to_wait(context: grpc.aio.ServicerContext) -> float | None:
    """Seconds that a call may wait, so that its reply arrives before the caller's deadline."""
    remaining = context.time_remaining()
    return None if remaining is None else max(0.0, remaining - _REPLY_SECONDS)


async def run(agent: Agent, address: str, grace_seconds: float) -> int:
    """Serves an agent and runs its worker until the process is told to stop; returns the exit status."""
    servicer = AgentServicer(agent)
    return await serve(
        address,
        AGENT,
        lambda server: add_AgentServiceServicer_to_server(servicer, server),
        grace_seconds=grace_seconds,
        background=agent.run_worker,
    )
