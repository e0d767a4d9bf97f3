import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from memalpha.agent import Agent
from memalpha.api.agent.v1alpha1.agent_service_pb2 import ChunkState, MemorizeItem, MemorizeRequest
from memalpha.client import AsyncMemoryClient
from memalpha.errors import (
    ConflictError,
    InternalError,
    InvalidInputError,
    NotFoundError,
    UnavailableError,
    make,
)

from .support import QUICK, ScriptedPolicy, contents, insert, keep_all, request

PENDING, MEMORIZED, PARKED = (
    ChunkState.CHUNK_STATE_PENDING,
    ChunkState.CHUNK_STATE_MEMORIZED,
    ChunkState.CHUNK_STATE_PARKED,
)


@asynccontextmanager
async def working(agent: Agent) -> AsyncIterator[Agent]:
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(agent.run_worker(stop))
        await asyncio.sleep(0)
        yield agent
        stop.set()


async def test_memorize_stores_at_once_and_leaves_memorizing_to_later(memory: AsyncMemoryClient) -> None:
    policy = ScriptedPolicy(keep_all)
    reply = await Agent(memory, policy, QUICK).memorize(request("one", "two"))
    assert [(each.chunk_id, each.position, each.already_stored, each.state) for each in reply.receipts] == [
        ("i0", 0, False, PENDING),
        ("i1", 1, False, PENDING),
    ]
    assert reply.pending_chunks == 2
    assert policy.seen == []


async def test_the_same_items_again_store_nothing(memory: AsyncMemoryClient) -> None:
    agent = Agent(memory, ScriptedPolicy(keep_all), QUICK)
    await agent.memorize(request("one", "two"))
    reply = await agent.memorize(request("one", "two", "three"))
    assert [(each.position, each.already_stored) for each in reply.receipts] == [
        (0, True),
        (1, True),
        (2, False),
    ]


async def test_waiting_returns_when_everything_is_memorized_with_or_without_a_worker(
    memory: AsyncMemoryClient,
) -> None:
    agent = Agent(memory, ScriptedPolicy(keep_all), QUICK)
    alone = await agent.memorize(request("one", wait=True))
    async with working(agent):
        beside = await agent.memorize(request("one", "two", wait=True))
    assert [each.state for each in (*alone.receipts, *beside.receipts)] == [MEMORIZED] * 3
    assert await contents(memory) == ["one", "two"]


async def test_waiting_ends_with_the_time_and_says_what_is_pending(memory: AsyncMemoryClient) -> None:
    async def never(view: object) -> None:
        await asyncio.Event().wait()

    reply = await Agent(memory, ScriptedPolicy("", before=never), QUICK).memorize(
        request("one", wait=True), timeout=0.05
    )
    assert [each.state for each in reply.receipts] == [PENDING]


async def test_waiting_ends_when_a_chunk_is_parked(memory: AsyncMemoryClient) -> None:
    agent = Agent(memory, ScriptedPolicy(make(InternalError, "CRASHED", "crashed")), QUICK)
    async with working(agent):
        reply = await agent.memorize(request("one", "two", wait=True))
    assert [each.state for each in reply.receipts] == [PARKED, PARKED]


async def test_waiting_without_a_worker_raises_what_the_policy_says(memory: AsyncMemoryClient) -> None:
    agent = Agent(memory, ScriptedPolicy(make(UnavailableError, "AWAY", "policy is away")), QUICK)
    with pytest.raises(UnavailableError, match="policy is away"):
        await agent.memorize(request("one", wait=True))
    # Stored all the same.
    assert (await memory.get_bank("b")).stats.pending_chunks == 1


async def test_a_bank_is_created_only_if_asked_for(memory: AsyncMemoryClient) -> None:
    agent = Agent(memory, ScriptedPolicy(""), QUICK)
    with pytest.raises(NotFoundError):
        await agent.memorize(request("one", create=False))
    await agent.memorize(request("one"))
    await agent.memorize(request("one", create=False))


async def test_a_long_item_gets_a_receipt_for_each_of_its_chunks(memory: AsyncMemoryClient) -> None:
    agent = Agent(memory, ScriptedPolicy(""), QUICK.model_copy(update={"chunk_tokens": 16}))
    reply = await agent.memorize(request("one two three four five. " * 10))
    ids = [each.chunk_id for each in reply.receipts]
    assert ids == [f"i0#{n}" for n in range(1, len(ids) + 1)]
    assert len(ids) > 3


async def test_more_chunks_than_one_batch_takes_are_all_stored_in_order(memory: AsyncMemoryClient) -> None:
    reply = await Agent(memory, ScriptedPolicy(""), QUICK).memorize(
        request(*(f"text {n}" for n in range(1001)))
    )
    assert [each.position for each in reply.receipts] == list(range(1001))


async def test_an_id_with_another_text_is_a_conflict(memory: AsyncMemoryClient) -> None:
    agent = Agent(memory, ScriptedPolicy(""), QUICK)
    await agent.memorize(request("one"))
    with pytest.raises(ConflictError):
        await agent.memorize(request("another"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(item_id=""), "items[1].item_id must be 1 to 200 bytes, got none"),
        (dict(item_id="é" * 101), "items[1].item_id must be at most 200 bytes, got 202"),
        (dict(item_id="a\nb"), "items[1].item_id must not hold control characters, got '\\n' at 1"),
        (dict(item_id="first"), "items[1].item_id 'first' came before with another text"),
        (dict(text=" \n"), "items[1].text must not be empty or blank, got ' \\n'"),
        (dict(text="a\0b"), "items[1].text must not hold a NUL character, got one at 1"),
        (dict(speaker="x" * 201), "items[1].speaker must be at most 200 characters, got 201"),
        (dict(speaker="Ann\nBob"), "items[1].speaker must not hold control characters, got '\\n' at 3"),
        (dict(source="x" * 1025), "items[1].source must be at most 1024 bytes, got 1025"),
        (dict(metadata={"k": "v" * 16384}), "items[1].metadata must be at most 16384 bytes, got 16385"),
        (dict(event_time="8 May 2023"), "items[1].event_time must be an ISO 8601 date"),
        (dict(event_time="2023-02-30"), "items[1].event_time must be an ISO 8601 date"),
        (dict(event_time="2023-05-08T25:00"), "items[1].event_time must be an ISO 8601 date"),
    ],
)
async def test_a_bad_item_is_refused_by_name_and_nothing_is_stored(
    memory: AsyncMemoryClient, change: dict, message: str
) -> None:
    fields: dict[str, Any] = {"item_id": "second", "text": "two"} | change
    bad = MemorizeItem(**fields)
    items = [MemorizeItem(item_id="first", text="one"), bad]
    with pytest.raises(InvalidInputError) as caught:
        await Agent(memory, ScriptedPolicy(""), QUICK).memorize(
            MemorizeRequest(bank_id="b", items=items, create_bank=True)
        )
    assert str(caught.value).startswith(message)
    with pytest.raises(NotFoundError):
        await memory.get_bank("b")


@pytest.mark.parametrize(
    "time", ["2023-05-08", "2023-05-08T13:56", "2023-05-08T13:56:07.5Z", "2023-05-08T13:56+02:00"]
)
async def test_times_are_kept_as_they_are_given(memory: AsyncMemoryClient, time: str) -> None:
    items = [MemorizeItem(item_id="i", text="x", event_time=time)]
    await Agent(memory, ScriptedPolicy(""), QUICK).memorize(
        MemorizeRequest(bank_id="b", items=items, create_bank=True)
    )
    assert [chunk.event_time async for chunk in memory.chunks("b")] == [time]


async def test_a_request_without_items_is_refused(memory: AsyncMemoryClient) -> None:
    with pytest.raises(InvalidInputError, match="items must hold at least one item, got none"):
        await Agent(memory, ScriptedPolicy(""), QUICK).memorize(MemorizeRequest(bank_id="b"))


async def test_a_bank_is_worked_off_in_the_foreground_chunk_by_chunk(memory: AsyncMemoryClient) -> None:
    agent = Agent(memory, ScriptedPolicy(make(InternalError, "CRASHED", "crashed"), keep_all), QUICK)
    await agent.memorize(request("one", "two"))
    outcomes = [outcome async for outcome in agent.memorize_pending("b")]
    # The first try of the first chunk fails, the second succeeds.
    assert [(each.chunk.position, each.state) for each in outcomes] == [
        (0, PENDING),
        (0, MEMORIZED),
        (1, MEMORIZED),
    ]
    assert await contents(memory) == ["one", "two"]


async def test_a_bank_replaced_while_waiting_is_not_found(memory: AsyncMemoryClient) -> None:
    async def replace(view: object) -> None:
        await memory.delete_bank("b")
        await memory.ensure_bank("b")

    agent = Agent(memory, ScriptedPolicy("", before=replace), QUICK)
    with pytest.raises(NotFoundError, match="bank b was deleted and created again meanwhile"):
        await agent.memorize(request("one", wait=True))


async def test_the_worker_can_be_run_again_after_it_stopped(memory: AsyncMemoryClient) -> None:
    agent = Agent(memory, ScriptedPolicy([insert("x")], [insert("y")]), QUICK)
    for texts in (["one"], ["one", "two"]):
        async with working(agent):
            await agent.memorize(request(*texts, wait=True))
    assert await contents(memory) == ["x", "y"]
