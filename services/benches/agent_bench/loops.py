"""The two loops over many banks that are compared, and one that makes the same calls without an agent.

`free`: the agent works every bank off on its own, and the engine's line decides who is next. `lockstep`: as
the reference evaluates (wangyu-ustc/Mem-alpha, 9c0e1f6): so many banks at a time, each round ends with its
slowest completion, and a bank that has ended leaves its place empty. Both run the same agent over the same
memory: only the order differs, which favours the reference, whose own code spends more beside it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Literal

from agent_bench.workload import Key, Workload
from memalpha.agent import Agent, AgentSettings, ChunkOutcome, Memorizer, Policy
from memalpha.api.agent.v1alpha1.agent_service_pb2 import ChunkState
from memalpha.api.memory.v1alpha1.memory_pb2 import BankSettings
from memalpha.api.policy.v1alpha1.policy_service_pb2 import GenerateRequest
from memalpha.client import AsyncMemoryClient
from memalpha.errors import InternalError, make

Loop = Literal["free", "lockstep"]
_PAGE = 100


async def filled(memory: AsyncMemoryClient, workload: Workload, bank: BankSettings, name: str) -> list[str]:
    """New banks that hold the workload's streams, all pending; their ids."""
    ids = [f"{name}-{number}" for number in range(workload.size.banks)]
    for number, bank_id in enumerate(ids):
        await memory.create_bank(bank_id, bank)
        stream = workload.stream(number)
        for begin in range(0, len(stream), _PAGE):
            await memory.append_chunks(bank_id, stream[begin : begin + _PAGE])
    return ids


async def memorized(
    loop: Loop,
    memory: AsyncMemoryClient,
    policy: Policy,
    settings: AgentSettings,
    banks: Sequence[str],
    rows: int,
) -> list[ChunkOutcome]:
    """Has all that is pending in the banks memorized.

    Args:
        loop: In which order.
        memory: Where the banks are.
        policy: Writes.
        settings: Of the agent.
        banks: Their ids.
        rows: Of the engine; lock step takes so many banks at a time.

    Raises:
        InternalError: CHUNK_FAILED: one was not memorized at its first try.
    """
    if loop == "free":
        agent = Agent(memory, policy, settings)
        done = await asyncio.gather(*(_one(agent, bank) for bank in banks))
        return [outcome for outcomes in done for outcome in outcomes]
    return await _in_lots(Memorizer(memory, policy, settings), banks, rows)


async def _one(agent: Agent, bank: str) -> list[ChunkOutcome]:
    return [_checked(outcome) async for outcome in agent.memorize_pending(bank)]


async def _in_lots(memorizer: Memorizer, banks: Sequence[str], rows: int) -> list[ChunkOutcome]:
    found: list[ChunkOutcome] = []
    for begin in range(0, len(banks), rows):
        lot = list(banks[begin : begin + rows])
        while lot:
            tried = await asyncio.gather(*map(memorizer.next_chunk, lot))
            outcomes = [_checked(each) for each in tried if each is not None]
            found += outcomes
            lot = [outcome.bank_id for outcome in outcomes if outcome.pending_chunks]
    return found


async def bare(policy: Policy, requests: dict[Key, GenerateRequest]) -> None:
    """The same calls at the same pace, without an agent: what they cost by themselves."""

    async def one(stream: list[GenerateRequest]) -> None:
        for request in stream:
            await policy.generate(request)

    await asyncio.gather(*map(one, streams(requests)))


def streams(requests: dict[Key, GenerateRequest]) -> Iterator[list[GenerateRequest]]:
    """The requests of each bank, in order of the stream."""
    banks: dict[int, list[GenerateRequest]] = {}
    for key in sorted(requests):
        banks.setdefault(key[0], []).append(requests[key])
    yield from banks.values()


def _checked(outcome: ChunkOutcome) -> ChunkOutcome:
    if outcome.state == ChunkState.CHUNK_STATE_MEMORIZED:
        return outcome
    message = f"chunk {outcome.chunk.position} of bank {outcome.bank_id} failed: {outcome.failure}"
    raise make(InternalError, "CHUNK_FAILED", message, bank_id=outcome.bank_id)
