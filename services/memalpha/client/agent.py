"""Clients of AgentService: text goes in, and what answers a question comes out."""

from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing, closing
from typing import Self, cast

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
from memalpha.client import methods
from memalpha.client.base import AsyncClient, Client, deadline
from memalpha.transport import AsyncGrpcTransport, GrpcTransport

_CONSOLIDATING_SECONDS = 3600.0
_MEMORIZING_SECONDS = 600.0
_ANSWERING_SECONDS = 600.0


def _memorize_deadline(request: MemorizeRequest, timeout: float | None) -> float:
    if timeout is not None:
        return timeout
    return _MEMORIZING_SECONDS if request.wait else deadline(request)


class AgentClient(Client[GrpcTransport]):
    """Blocking client of AgentService."""

    @classmethod
    def connect(cls, address: str) -> Self:
        """A client of the agent service at `host:port`."""
        return cls(GrpcTransport(address))

    def memorize(self, request: MemorizeRequest, timeout: float | None = None) -> MemorizeResponse:
        """Stores items durably, all or none, and has the policy memorize them in order.

        Items carry the caller's ids, so a lost call can be repeated and stores nothing twice.

        Args:
            request: Bank, items, and whether to wait until they are memorized.
            timeout: Seconds; None means 600 if the request waits, else 5 and 2 more for each MiB.
        """
        return self._transport.call(methods.MEMORIZE, request, timeout=_memorize_deadline(request, timeout))

    def recall(self, request: RecallRequest) -> RecallResponse:
        """Finds what a bank knows about a question; what is not memorized yet comes back marked pending."""
        return self._transport.call(methods.RECALL, request, timeout=deadline(request))

    def answer(self, request: AnswerRequest, timeout: float = _ANSWERING_SECONDS) -> AnswerResponse:
        """Has the reader answer a question from what a bank knows, within `timeout` seconds.

        Raises:
            UnsupportedError: UNIMPLEMENTED, if the reader is no model.
        """
        return self._transport.call(methods.ANSWER, request, timeout=timeout)

    def consolidate(
        self, request: ConsolidateRequest, timeout: float = _CONSOLIDATING_SECONDS
    ) -> Generator[ConsolidateResponse]:
        """Has the policy put a bank's memories in order; yields what became of each piece as it is done.

        What is done stays done if the stream ends early; `next_memory_id` says where to go on.

        Args:
            request: Bank, and whether to write.
            timeout: Seconds for all pieces together.

        Raises:
            UnsupportedError: The policy or the agent's prompt pack cannot do this.
            ConflictError: Others changed the bank under each try of a piece.
        """
        replies = self._transport.stream(methods.CONSOLIDATE, request, timeout=timeout)
        with closing(cast(Generator[ConsolidateResponse], replies)):
            yield from replies


class AsyncAgentClient(AsyncClient[AsyncGrpcTransport]):
    """Asynchronous client of AgentService."""

    @classmethod
    def connect(cls, address: str) -> Self:
        """A client of the agent service at `host:port`."""
        return cls(AsyncGrpcTransport(address))

    async def memorize(self, request: MemorizeRequest, timeout: float | None = None) -> MemorizeResponse:
        """As `AgentClient.memorize`."""
        return await self._transport.call(
            methods.MEMORIZE, request, timeout=_memorize_deadline(request, timeout)
        )

    async def recall(self, request: RecallRequest) -> RecallResponse:
        """As `AgentClient.recall`."""
        return await self._transport.call(methods.RECALL, request, timeout=deadline(request))

    async def answer(self, request: AnswerRequest, timeout: float = _ANSWERING_SECONDS) -> AnswerResponse:
        """As `AgentClient.answer`."""
        return await self._transport.call(methods.ANSWER, request, timeout=timeout)

    async def consolidate(
        self, request: ConsolidateRequest, timeout: float = _CONSOLIDATING_SECONDS
    ) -> AsyncGenerator[ConsolidateResponse]:
        """As `AgentClient.consolidate`."""
        replies = self._transport.stream(methods.CONSOLIDATE, request, timeout=timeout)
        async with aclosing(cast(AsyncGenerator[ConsolidateResponse], replies)):
            async for reply in replies:
                yield reply
