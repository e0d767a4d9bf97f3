import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from memalpha.agent.backoff import Backoff
from memalpha.agent.prompts import PromptView
from memalpha.agent.settings import AgentSettings
from memalpha.agent.worker import BankQueue, Worker
from memalpha.api.memory.v1alpha1.memory_service_pb2 import ApplyOperationsRequest, ApplyOperationsResponse
from memalpha.client import AsyncMemoryClient
from memalpha.errors import BusyError, CorruptionError, InternalError, UnavailableError, make

from .support import QUICK, ScriptedPolicy, append, contents, keep_all

AWAY = make(UnavailableError, "AWAY", "away")


@asynccontextmanager
async def working(
    memory: AsyncMemoryClient, policy: ScriptedPolicy, settings: AgentSettings = QUICK
) -> AsyncIterator[Worker]:
    stop = asyncio.Event()
    worker = Worker(memory, policy, settings)
    async with asyncio.TaskGroup() as group:
        group.create_task(worker.run(stop))
        await asyncio.sleep(0)
        yield worker
        stop.set()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(10):
        while not await condition():
            await asyncio.sleep(0.005)


async def drained(memory: AsyncMemoryClient) -> bool:
    return not [bank async for bank in memory.pending_banks() if not bank.parked]


async def test_pending_banks_are_found_without_being_announced(memory: AsyncMemoryClient) -> None:
    await append(memory, "one", "two")
    async with working(memory, ScriptedPolicy(keep_all)):
        await until(lambda: drained(memory))
    assert await contents(memory) == ["one", "two"]


async def test_a_bank_is_worked_off_without_waiting_for_further_polls(memory: AsyncMemoryClient) -> None:
    await append(memory, "one", "two", "three")
    async with working(memory, ScriptedPolicy(keep_all), QUICK.model_copy(update={"poll_seconds": 3600})):
        await until(lambda: drained(memory))
    assert await contents(memory) == ["one", "two", "three"]


async def test_an_announced_bank_is_memorized_before_the_next_poll(memory: AsyncMemoryClient) -> None:
    settings = QUICK.model_copy(update={"poll_seconds": 3600})
    async with working(memory, ScriptedPolicy(keep_all), settings) as worker:
        await asyncio.sleep(0.05)
        await append(memory, "one")
        worker.wake("b")
        await until(lambda: drained(memory))
    assert await contents(memory) == ["one"]


async def test_chunks_of_a_bank_are_read_in_order_and_banks_side_by_side(memory: AsyncMemoryClient) -> None:
    in_work: set[str] = set()
    most_at_once = 0

    async def watch(view: PromptView) -> None:
        nonlocal most_at_once
        bank = view.chunk.split()[0]
        assert bank not in in_work
        in_work.add(bank)
        most_at_once = max(most_at_once, len(in_work))
        await asyncio.sleep(0.01)
        in_work.remove(bank)

    for bank in ("x", "y", "z"):
        await append(memory, *(f"{bank} {n}" for n in range(4)), bank=bank)
    async with working(memory, ScriptedPolicy(keep_all, before=watch)):
        await until(lambda: drained(memory))
    for bank in ("x", "y", "z"):
        assert await contents(memory, bank) == [f"{bank} {n}" for n in range(4)]
    assert most_at_once == 3


async def test_banks_take_turns_so_that_a_long_stream_holds_nobody_up(memory: AsyncMemoryClient) -> None:
    policy = ScriptedPolicy(keep_all)
    await append(memory, *(f"long {n}" for n in range(20)), bank="a-long-one")
    await append(memory, "short 0", "short 1", bank="short")
    async with working(memory, policy, QUICK.model_copy(update={"concurrency": 1})):
        await until(lambda: drained(memory))
    order = [view.chunk.split()[0] for view in policy.seen]
    assert order[:5] == ["long", "short", "long", "short", "long"]


async def test_an_outage_of_the_policy_is_waited_out_with_one_line_in_the_log(
    memory: AsyncMemoryClient,
) -> None:
    for bank in ("x", "y", "z"):
        await append(memory, "one", bank=bank)
    policy = ScriptedPolicy(*[AWAY] * 12, keep_all)
    with capture_logs() as logs:
        async with working(memory, policy):
            await until(lambda: drained(memory))
    for bank in ("x", "y", "z"):
        assert await contents(memory, bank) == ["one"]
        assert (await memory.get_bank(bank)).failures.count == 0
    assert [line["event"] for line in logs] == ["memorizing waits", "memorizing goes on"]
    assert (logs[0]["unavailable"], logs[1]["available"]) == ("policy", "policy")


class Flaky:
    """A memory whose next calls fail, and that counts the views it gives."""

    def __init__(self, memory: AsyncMemoryClient, *errors: Exception) -> None:
        self._memory = memory
        self.errors = list(errors)
        self.views = 0

    def __getattr__(self, name: str) -> object:
        self.views += name == "get_writer_view"
        if self.errors and name in ("get_writer_view", "apply_operations"):
            raise self.errors.pop(0)
        return getattr(self._memory, name)


async def test_errors_of_the_memory_do_not_end_the_worker(memory: AsyncMemoryClient) -> None:
    await append(memory, "one")
    corrupted = make(CorruptionError, "STORE_CORRUPTED", "page 3 is not what was written")
    flaky = Flaky(memory, AWAY, corrupted, AWAY, corrupted)
    async with working(flaky, ScriptedPolicy(keep_all)):  # type: ignore[arg-type]
        await until(lambda: drained(memory))
    assert await contents(memory) == ["one"]
    assert flaky.errors == []


async def test_a_full_disk_is_waited_out_with_one_line_in_the_log_although_polls_succeed(
    memory: AsyncMemoryClient,
) -> None:
    await append(memory, "one")
    full = make(BusyError, "DISK_FULL", "no space left")
    # the pauses add up to many polls: each of these reads, which a full disk allows
    flaky = Flaky(memory, *[full] * 6)
    with capture_logs() as logs:
        async with working(flaky, ScriptedPolicy(keep_all)):  # type: ignore[arg-type]
            await until(lambda: drained(memory))
    assert await contents(memory) == ["one"]
    assert [line["event"] for line in logs] == ["memorizing waits", "memorizing goes on"]
    assert (logs[0]["unavailable"], logs[1]["available"]) == ("writing", "writing")


async def test_a_record_whose_reply_was_lost_is_not_made_twice(memory: AsyncMemoryClient) -> None:
    class ReplyLost(Flaky):
        async def apply_operations(self, request: ApplyOperationsRequest) -> ApplyOperationsResponse:
            reply = await memory.apply_operations(request)
            if self.errors:
                raise self.errors.pop()
            return reply

    await append(memory, "one", "two")
    lossy = ReplyLost(memory)
    async with working(lossy, ScriptedPolicy(keep_all)):  # type: ignore[arg-type]
        lossy.errors.append(AWAY)
        await until(lambda: drained(memory))
    assert lossy.errors == []
    assert await contents(memory) == ["one", "two"]


async def test_a_parked_bank_rests_while_others_go_on(memory: AsyncMemoryClient) -> None:
    def decide(view: PromptView) -> list:
        if view.chunk == "bad":
            raise make(InternalError, "CRASHED", "crashed")
        return keep_all(view)

    await append(memory, "bad", bank="x")
    await append(memory, "good", bank="y")
    counting = Flaky(memory)
    async with working(counting, ScriptedPolicy(decide)):  # type: ignore[arg-type]
        await until(lambda: drained(memory))
        views = counting.views
        await asyncio.sleep(0.1)
    # Three tries of the bad chunk (the default limit) and one of the good one; then nothing more.
    assert counting.views == views == 4
    assert await contents(memory, "y") == ["good"]


async def test_stopping_finishes_the_chunk_in_work_and_begins_no_other(memory: AsyncMemoryClient) -> None:
    begun = asyncio.Event()

    async def slow(view: PromptView) -> None:
        begun.set()
        await asyncio.sleep(0.05)

    await append(memory, "one", "two")
    async with working(memory, ScriptedPolicy(keep_all, before=slow)):
        await begun.wait()
    assert await contents(memory) == ["one"]


async def test_cancelling_abandons_the_chunk_without_a_trace(memory: AsyncMemoryClient) -> None:
    begun = asyncio.Event()

    async def endless(view: PromptView) -> None:
        begun.set()
        await asyncio.Event().wait()

    await append(memory, "one")
    worker = Worker(memory, ScriptedPolicy(keep_all, before=endless), QUICK)
    task = asyncio.create_task(worker.run(asyncio.Event()))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not worker.running
    assert (await memory.get_bank("b")).cursor == 0
    assert await contents(memory) == []


async def test_a_bug_in_the_policy_ends_the_worker_loudly(memory: AsyncMemoryClient) -> None:
    def broken(view: PromptView) -> list:
        raise ZeroDivisionError

    await append(memory, "one")
    with pytest.raises(ExceptionGroup) as caught:
        await Worker(memory, ScriptedPolicy(broken), QUICK).run(asyncio.Event())
    assert caught.group_contains(ZeroDivisionError)


async def test_a_bank_in_work_is_not_taken_twice_and_comes_back_when_it_is_done() -> None:
    queue = BankQueue()
    for bank in ("x", "x", "y"):
        queue.put(bank)
    assert [await queue.take(), await queue.take()] == ["x", "y"]
    queue.put("x")
    waiting = asyncio.create_task(queue.take())
    await asyncio.sleep(0)
    assert not waiting.done()
    queue.done("x")
    assert await waiting == "x"


async def test_a_closed_queue_lets_everybody_go() -> None:
    queue = BankQueue()
    waiting = asyncio.create_task(queue.take())
    await asyncio.sleep(0)
    queue.close()
    assert await waiting is None


def test_pauses_double_up_to_the_longest_with_jitter_downwards() -> None:
    backoff = Backoff(first=1.0, longest=6.0)
    for n, most in ((0, 1.0), (1, 2.0), (2, 4.0), (3, 6.0), (1000, 6.0)):
        assert most / 2 <= backoff.pause(n) <= most
