"""The agent's tests of "exactly once", with vLLM behind the policy.

Every chunk is written by vLLM, over the network; what an untrained model writes means nothing, so that the
calls which are carried out are dictated.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

import memcore
from memalpha.agent import AgentSettings, wire
from memalpha.agent.loop import Memorizer
from memalpha.agent.prompts import read_prompt
from memalpha.agent.protocols import Completion
from memalpha.agent.tools import ToolCall
from memalpha.agent.worker import Worker
from memalpha.api.memory.v1alpha1.memory_pb2 import Chunk
from memalpha.api.memory.v1alpha1.memory_service_pb2 import ApplyOperationsRequest, ApplyOperationsResponse
from memalpha.api.policy.v1alpha1.policy_service_pb2 import GenerateRequest, GetPolicyResponse
from memalpha.client import AsyncMemoryClient, AsyncPolicyClient
from memalpha.errors import UnavailableError, make
from memalpha.transport import AsyncEmbeddedTransport

from .engines import over

pytest.importorskip("vllm", reason="needs vllm: uv sync --group vllm")

# vLLM takes its time to start, and its libraries warn of one another.
pytestmark = [pytest.mark.timeout(600), pytest.mark.filterwarnings("ignore")]

QUICK = AgentSettings(
    max_new_tokens=32, poll_seconds=0.02, backoff_seconds=0.001, longest_backoff_seconds=0.01
)
LONG = QUICK.model_copy(update={"max_new_tokens": 1000})


class Dictated:
    """Has vLLM complete each prompt, and then remembers the chunk, signed."""

    def __init__(
        self,
        client: AsyncPolicyClient,
        name: str = "Ann",
        then: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        self.name = name
        self.new_tokens: list[int] = []
        self._client = client
        self._then = then

    async def generate(self, request: GenerateRequest) -> Completion:
        written = await self._client.generate(request)
        self.new_tokens.append(written.usage.completion_tokens)
        if self._then is not None:
            await self._then()
        chunk = read_prompt(request.chat.messages[-1].content).chunk
        content = f"{chunk} by {self.name}"
        keep = ToolCall("new_memory_insert", {"memory_type": "semantic_memory", "content": content})
        return replace(written, text=wire.get("lines").render([keep]))

    async def describe(self) -> GetPolicyResponse:
        return await self._client.describe()


class Touched:
    """A memory of which some calls go another way."""

    def __init__(self, memory: AsyncMemoryClient) -> None:
        self._memory = memory

    def __getattr__(self, name: str) -> Any:
        return getattr(self._memory, name)


class Careless(Touched):
    """Carries out what was decided on another state of the bank."""

    async def apply_operations(self, request: ApplyOperationsRequest) -> ApplyOperationsResponse:
        for name in ("cursor_token", "memory_revision", "advance_to"):
            request.ClearField(name)  # type: ignore[arg-type]
        return await self._memory.apply_operations(request)


class ReplyLost(Touched):
    """Loses the reply to its first record."""

    lost = False

    async def apply_operations(self, request: ApplyOperationsRequest) -> ApplyOperationsResponse:
        reply = await self._memory.apply_operations(request)
        if not self.lost:
            self.lost = True
            raise make(UnavailableError, "AWAY", "away")
        return reply


@asynccontextmanager
async def opened(shared: Any) -> AsyncIterator[tuple[AsyncMemoryClient, AsyncPolicyClient]]:
    """A memory whose bank has two chunks, and the policy."""
    with memcore.Store.in_memory() as store:
        memory = AsyncMemoryClient(AsyncEmbeddedTransport(store))
        await memory.ensure_bank("b")
        await memory.append_chunks("b", [Chunk(chunk_id=text, text=text) for text in ("one", "two")])
        async with over(shared) as service:
            yield memory, service.client


async def contents(memory: AsyncMemoryClient) -> list[str]:
    return [each.content async for each in memory.memories("b") if each.content]


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(300):
        while not await condition():
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("careful", [True, False], ids=["once", "control"])
async def test_two_workers_on_one_bank_memorize_each_chunk_once(vllm_core, careful) -> None:
    async with opened(vllm_core()) as (memory, client):
        stolen = False

        async def steal() -> None:
            nonlocal stolen
            if not stolen:
                stolen = True
                await Memorizer(memory, Dictated(client, "Bob"), QUICK).next_chunk("b")

        policy = Dictated(client, then=steal)
        used: Any = memory if careful else Careless(memory)
        outcome = await Memorizer(used, policy, QUICK).next_chunk("b")
        assert outcome is not None
        # What was decided before the other's record is decided anew, on the next chunk.
        assert len(policy.new_tokens) == (2 if careful else 1)
        last = "two by Ann" if careful else "one by Ann"
        assert await contents(memory) == ["one by Bob", last]
    assert all(count > 0 for count in policy.new_tokens)


async def test_a_record_whose_reply_was_lost_is_not_made_twice(vllm_core) -> None:
    async with opened(vllm_core()) as (memory, client):
        lossy: Any = ReplyLost(memory)

        async def drained() -> bool:
            return not [bank async for bank in memory.pending_banks()]

        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(Worker(lossy, Dictated(client), QUICK).run(stop))
            await until(drained)
            stop.set()
        assert lossy.lost
        assert await contents(memory) == ["one by Ann", "two by Ann"]


async def test_cancelling_abandons_the_chunk_without_a_trace(vllm_core) -> None:
    shared = vllm_core()
    core = shared[1]

    async def writing() -> bool:
        return any(request.new for request in core._requests)

    async def at_rest() -> bool:
        return not core.count and not core._process._llm.output_processor.request_states

    async with opened(shared) as (memory, client):
        policy = Dictated(client)
        task = asyncio.create_task(Worker(memory, policy, LONG).run(asyncio.Event()))
        await until(writing)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(at_rest)
        assert policy.new_tokens == []
        assert (await memory.get_bank("b")).cursor == 0
        assert await contents(memory) == []
