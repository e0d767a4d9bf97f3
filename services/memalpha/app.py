"""The composition root: from settings to working parts. Only this module knows which parts there are.

A program that wants a memory asks for one of two things with the same faces: `embedded`, everything in this
process on a folder of its own, or `connected`, clients of the services. A service process is one of `run_*`.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import memcore
from memalpha import telemetry
from memalpha.agent import Agent, AgentSettings, Policy, preset
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
from memalpha.api.memory.v1alpha1 import memory_pb2 as pb
from memalpha.client import AsyncAgentClient, AsyncMemoryClient, AsyncPolicyClient
from memalpha.client.health import ServiceHealth, health
from memalpha.config import Settings
from memalpha.embed import bank_embedder, opened
from memalpha.errors import NotFoundError
from memalpha.policy import engine as engines
from memalpha.policy.engine import Engine, InProcessPolicy
from memalpha.services import agent as agent_service
from memalpha.services import launched
from memalpha.services import memory as memory_service
from memalpha.services import policy as policy_service
from memalpha.transport import AsyncEmbeddedTransport

__all__ = [
    "AgentFace",
    "Connected",
    "Embedded",
    "Faces",
    "Memory",
    "ServiceHealth",
    "connected",
    "embedded",
    "ensure_bank",
    "health",
    "run_agent",
    "run_memory",
    "run_policy",
    "set_embedder",
]

Memory = AsyncMemoryClient


class AgentFace(Protocol):
    """What a program needs of an agent, wherever it runs."""

    async def memorize(self, request: MemorizeRequest, timeout: float | None = None) -> MemorizeResponse:
        """Stores items durably and has the policy memorize them; waits at most `timeout` seconds for that."""
        ...

    async def recall(self, request: RecallRequest) -> RecallResponse:
        """Finds what a bank knows about a question."""
        ...

    async def answer(self, request: AnswerRequest) -> AnswerResponse:
        """Has a reader answer a question from what a bank knows."""
        ...

    def consolidate(self, request: ConsolidateRequest) -> AsyncGenerator[ConsolidateResponse]:
        """Puts a bank's memories in order, or says what that would change, piece by piece."""
        ...


@dataclass(frozen=True, slots=True)
class Faces:
    """A memory to write and read, and an agent that turns text into memories and questions into answers."""

    memory: Memory
    agent: AgentFace


@dataclass(frozen=True, slots=True)
class Embedded(Faces):
    """Faces in this process; this agent can also work a bank off in the foreground."""

    agent: Agent


@dataclass(frozen=True, slots=True)
class Connected(Faces):
    """Faces of the services."""

    agent: AsyncAgentClient


@asynccontextmanager
async def embedded(
    data_dir: Path | None, settings: Settings, *, worker: bool = False
) -> AsyncIterator[Embedded]:
    """Store, policy engine and agent in this process.

    Args:
        data_dir: Folder of the store, created if there is none; None keeps all banks in RAM.
        settings: For the engine and the agent.
        worker: Memorizes what is pending in the background, for as long as this is open.

    Raises:
        ConflictError: STORE_LOCKED: a service or another program holds the folder; it names both.
    """
    store = memcore.Store.in_memory() if data_dir is None else memcore.Store.open(data_dir, note="embedded")
    with store:
        memory = AsyncMemoryClient(AsyncEmbeddedTransport(store))
        async with AsyncExitStack() as stack:
            policy = InProcessPolicy(await stack.enter_async_context(_engine(settings)))
            embedder = await stack.enter_async_context(opened(settings.embedder))
            reader = await stack.enter_async_context(_reader(settings))
            agent = Agent(memory, policy, agent_settings(settings), embedder, reader)
            if worker:
                await stack.enter_async_context(_working(agent))
            yield Embedded(memory, agent)


@asynccontextmanager
async def _working(agent: Agent) -> AsyncIterator[None]:
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(agent.run_worker(stop))
        try:
            yield
        finally:
            stop.set()


@asynccontextmanager
async def connected(settings: Settings) -> AsyncIterator[Connected]:
    """Clients of the running services; nothing is sent before the first call."""
    async with (
        AsyncMemoryClient.connect(settings.memory_address) as memory,
        AsyncAgentClient.connect(settings.agent_address) as agent,
    ):
        yield Connected(memory, agent)


def agent_settings(settings: Settings) -> AgentSettings:
    """The agent's part of the settings."""
    # The default preset reads whatever its policy writes.
    wire_format = "" if settings.preset == "default" else settings.wire_format
    return preset(
        settings.preset,
        wire_format=wire_format,
        prompt_pack=settings.prompt_pack,
        chunk_tokens=settings.chunk_tokens,
        view=settings.view,
        semantic=settings.view_semantic,
        episodic=settings.view_episodic,
        core_tokens=settings.core_tokens,
        concurrency=settings.concurrency,
        guided_calls=settings.guided_calls,
        vectors=settings.embedder.kind != "none",
    )


@asynccontextmanager
async def _reader(settings: Settings) -> AsyncIterator[Policy | None]:
    """The policy that answers questions; None if it is the one that writes memories."""
    if settings.reader_address is None:
        yield None
        return
    async with AsyncPolicyClient.connect(settings.reader_address) as reader:
        yield reader


async def ensure_bank(memory: Memory, bank_id: str, settings: Settings) -> pb.Bank:
    """Gets a bank, or creates it with the embedder of the settings; an old bank keeps its own.

    Raises:
        MemalphaError: There is no such bank, and the embedder's dimensions can neither be read nor asked for.
    """
    try:
        return await memory.get_bank(bank_id)
    except NotFoundError:
        embedder = await bank_embedder(settings.embedder)
    return await memory.ensure_bank(bank_id, agent_settings(settings).bank_settings(embedder))


async def set_embedder(faces: Faces, bank_id: str, settings: Settings) -> pb.Bank:
    """Sets a bank to the embedder of the settings; in this process, its missing vectors are made at once.

    Raises:
        NotFoundError: There is no such bank.
        MemalphaError: The embedder's dimensions can neither be read nor asked for.
    """
    bank = await faces.memory.get_bank(bank_id)
    embedder = await bank_embedder(settings.embedder)
    bank = await faces.memory.set_embedder(bank_id, embedder, bank.bank_uid)
    if not isinstance(faces, Embedded):
        return bank
    await faces.agent.embed_pending(bank_id)
    return await faces.memory.get_bank(bank_id)


def run_memory(settings: Settings) -> int:
    """Is the memory service until it is told to stop; returns the exit status."""
    _begin(settings)
    return memory_service.run(settings.data_dir, settings.memory_address, settings.grace_seconds)


def run_policy(settings: Settings) -> int:
    """Is the policy service until it is told to stop; returns the exit status."""
    _begin(settings)
    return asyncio.run(_run_policy(settings))


async def _run_policy(settings: Settings) -> int:
    async with _engine(settings) as engine:
        return await policy_service.run(engine, settings.policy_address, settings.grace_seconds)


def _engine(settings: Settings) -> AbstractAsyncContextManager[Engine]:
    return engines.opened(settings.policy_engine, wire_format=settings.wire_format, settings=settings.policy)


def run_agent(settings: Settings) -> int:
    """Is the agent service until it is told to stop; returns the exit status."""
    _begin(settings)
    return asyncio.run(_run_agent(settings))


async def _run_agent(settings: Settings) -> int:
    async with (
        AsyncMemoryClient.connect(settings.memory_address) as memory,
        AsyncPolicyClient.connect(settings.policy_address) as policy,
        opened(settings.embedder) as embedder,
        _reader(settings) as reader,
    ):
        agent = Agent(memory, policy, agent_settings(settings), embedder, reader)
        return await agent_service.run(agent, settings.agent_address, settings.grace_seconds)


def _begin(settings: Settings) -> None:
    telemetry.configure(settings.log_level, settings.log_format)
    launched.follow(settings.grace_seconds)
