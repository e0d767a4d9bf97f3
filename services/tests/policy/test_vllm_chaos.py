"""The policy service under fire, over each engine that exchanges weights; vLLM is killed as well.

MEMALPHA_TEST_SECONDS says for how long at least; by default, until everything has been done once.
"""

import asyncio
import math
import os
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

import memcore
from memalpha.agent import Agent, AgentSettings
from memalpha.api.agent.v1alpha1 import agent_service_pb2 as agent_pb
from memalpha.api.policy.v1alpha1 import policy_service_pb2 as pb
from memalpha.client import AsyncMemoryClient
from memalpha.policy.served import largest
from memalpha.transport import AsyncEmbeddedTransport

from .chaos import Chaos, Code, Stream, Weights, faults, stub
from .engines import Service, local, over
from .killer import Killer
from .test_conformance import idle
from .test_local_parity import PARITY, full_pass, noisy, reference
from .test_local_weights import scores, sequences

SECONDS = float(os.environ.get("MEMALPHA_TEST_SECONDS", "0"))
pytestmark = pytest.mark.timeout(SECONDS + 900)
ROWS, WAITING = 4, 6
# Completions whose every token is compared with a full pass.
COMPARED = 30


# vLLM's libraries warn of one another.
QUIET = pytest.mark.filterwarnings("ignore")


@pytest.fixture(params=["transformers", pytest.param("vllm", marks=QUIET)])
def engine(request, tiny_folder) -> tuple[str, Callable[..., Any]]:
    """Its name, and how it is opened."""
    if request.param == "vllm":
        shared = request.getfixturevalue("vllm_core")()
        return "vllm", lambda **settings: over(shared, **settings)
    return "transformers", lambda **settings: local(tiny_folder(), **settings)


async def probed(folder: Path) -> tuple[Path, pb.WeightProbe]:
    """A folder and what its weights say, by the library's own model."""
    model = reference(folder)
    rows = [tuple(each.token_ids) for each in sequences()]
    found = [pb.SequenceScore(logprobs=full_pass(model, row[:1], row[1:], 1.0)) for row in rows]
    return folder, pb.WeightProbe(sequences=sequences(), scores=found, tolerance=PARITY)


def largest_gap(streams: list[Stream], weights: Weights) -> float:
    """How far logprobs are from those of the versions that pieces name."""
    models: dict[Path, Any] = {}
    gaps: list[float] = []
    for stream in streams:
        prompt, ids = tuple(stream.request.tokens.token_ids), tuple(token for token, _, _ in stream.tokens)
        tables: dict[Path, list[float]] = {}
        for place, (_, logprob, version) in enumerate(stream.tokens):
            folder = weights.folders[version]
            model = models.get(folder) or models.setdefault(folder, reference(folder))
            if folder not in tables:
                tables[folder] = full_pass(model, prompt, ids, 1.0)
            gaps.append(abs(logprob - tables[folder][place]))
    assert gaps
    return largest(gaps)


@pytest.mark.parametrize("place", [0, 1])
def test_a_logprob_that_is_no_number_is_far_off(tiny_folder, place) -> None:
    weights, (row, *_) = Weights({1: tiny_folder()}), sequences()
    prompt, new = row.token_ids[:1], row.token_ids[1:]
    logprobs = full_pass(reference(tiny_folder()), tuple(prompt), tuple(new), 1.0)

    def seen() -> list[Stream]:
        request = pb.GenerateRequest(tokens=pb.TokenizedPrompt(token_ids=prompt))
        identity = pb.PolicyIdentity(policy_version=1)
        piece = pb.GenerateResponse(token_ids=new, logprobs=logprobs, policy=identity)
        return [Stream(request, 1, pieces=[piece])]

    assert largest_gap(seen(), weights) <= PARITY
    logprobs[place] = math.nan
    assert largest_gap(seen(), weights) > PARITY


async def begun(service: Service, base: Path) -> Weights:
    """The base's weights, under a new number if others are served: vLLM is slow to start anew."""
    number = service.described.policy.policy_version
    if number > 1:
        number += 1
        await service.client.load_weights(pb.LoadWeightsRequest(policy_version=number, path=str(base)))
    return Weights({number: base}, number, number)


def whole(streams: list[Stream]) -> list[Stream]:
    return [stream for stream in streams if stream.code is Code.OK]


def mixed(streams: list[Stream]) -> list[Stream]:
    """Those that an exchange of weights interrupted."""
    return [each for each in whole(streams) if len({version for _, _, version in each.tokens}) > 1]


def enough(streams: list[Stream]) -> bool:
    """Whether what is judged holds something to be judged."""
    codes = {stream.code for stream in streams}
    seen = {Code.OK, Code.RESOURCE_EXHAUSTED, Code.CANCELLED} <= codes
    return seen and bool(mixed(streams)) and len(whole(streams)) >= COMPARED


# Over vLLM the other test is the short one, of the same chaos.
@pytest.mark.parametrize(
    "engine", ["transformers", pytest.param("vllm", marks=[QUIET, pytest.mark.long])], indirect=True
)
async def test_a_service_under_fire_answers_whole_or_says_come_again(
    engine, tiny_folder, tmp_path, monkeypatch
) -> None:
    name, opened = engine
    base = tiny_folder()
    folders = [await probed(noisy(base, tmp_path / f"v{n}", size=0.02 * n, version=n)) for n in (2, 3)]
    async with opened(weights_root="/", rows=ROWS, waiting=WAITING) as service, stub(service.address) as bare:
        kill = Killer(service.engine, monkeypatch) if name == "vllm" else None
        weights = await begun(service, base)
        chaos = Chaos(bare, folders, weights, seed=7, most=ROWS + WAITING, kill=kill)
        await chaos.run(SECONDS, enough)
        print(chaos)
        await idle(service)
        assert faults(chaos.streams, weights) == []
        assert largest_gap([*mixed(chaos.streams), *whole(chaos.streams)][:COMPARED], weights) <= PARITY
        # The control: by other weights they are far off.
        others = Weights({number: base for number in weights.folders})
        assert largest_gap(mixed(chaos.streams), others) > 100 * PARITY
        assert any(stream.code is Code.UNAVAILABLE for stream in chaos.streams) == (name == "vllm")
        await expect_like_a_fresh_one(service, weights.folders[weights.served])


async def expect_like_a_fresh_one(service: Service, folder: Path) -> None:
    """The same scores, and the same greedy completions, as a service that was just started on the weights."""
    made = [
        pb.GenerateRequest(
            tokens=each, sampling=pb.SamplingParams(temperature=0, max_tokens=30), return_tokens=True
        )
        for each in sequences()
    ]
    async with local(folder) as fresh:
        expected, there = await scores(fresh), await scores(service)
        ours, theirs = [
            [await each.client.generate(request) for request in made] for each in (service, fresh)
        ]
    for one, other in zip(there, expected, strict=True):
        assert list(one.logprobs) == pytest.approx(list(other.logprobs), abs=PARITY)
    assert [each.token_ids for each in ours] == [each.token_ids for each in theirs]


async def test_an_agent_memorizes_every_chunk_once_though_its_policy_is_under_fire(
    engine, tiny_folder, tmp_path, monkeypatch
) -> None:
    name, opened = engine
    folders = [
        await probed(noisy(tiny_folder(), tmp_path / f"v{n}", size=0.02 * n, version=n)) for n in (2, 3)
    ]
    settings = AgentSettings(chunk_tokens=64, max_new_tokens=32, longest_backoff_seconds=1)
    stop = asyncio.Event()
    async with AsyncExitStack() as stack:
        service = await stack.enter_async_context(opened(weights_root="/", rows=ROWS, waiting=WAITING))
        bare = await stack.enter_async_context(stub(service.address))
        memory = AsyncMemoryClient(AsyncEmbeddedTransport(stack.enter_context(memcore.Store.in_memory())))
        kill = Killer(service.engine, monkeypatch) if name == "vllm" else None
        weights = await begun(service, tiny_folder())
        chaos = Chaos(bare, folders, weights, seed=8, most=ROWS + WAITING, kill=kill)
        agent = Agent(memory, service.client, settings)
        async with asyncio.TaskGroup() as group:
            worker = group.create_task(agent.run_worker(stop))
            banks = {bank: [await memorized(agent, bank, 0)] for bank in ("ann", "ben")}
            fire = group.create_task(chaos.run(SECONDS, lambda _: True))
            await asyncio.gather(*(under_fire(agent, bank, items, fire) for bank, items in banks.items()))
            stop.set()
            await worker
        print(chaos)
        assert faults(chaos.streams, weights) == []
        for bank, items in banks.items():
            again = await agent.memorize(agent_pb.MemorizeRequest(bank_id=bank, items=items))
            moves = [each.cursor_moved async for each in memory.events(bank) if each.HasField("cursor_moved")]
            assert all(receipt.already_stored for receipt in again.receipts)
            assert {receipt.state for receipt in again.receipts} == {agent_pb.CHUNK_STATE_MEMORIZED}
            assert [move.chunk_id for move in moves] == [receipt.chunk_id for receipt in again.receipts]
            assert len({move.writer.policy_version for move in moves}) > 1


async def under_fire(
    agent: Agent, bank: str, items: list[agent_pb.MemorizeItem], fire: asyncio.Task[None]
) -> None:
    """Has a bank memorize one text after the other until its policy is left alone, and one more."""
    over = False
    while not over:
        over = fire.done()
        items.append(await memorized(agent, bank, len(items)))


async def memorized(agent: Agent, bank: str, number: int) -> agent_pb.MemorizeItem:
    item = agent_pb.MemorizeItem(item_id=str(number), text=f"Ann: I baked {number} cakes today.")
    made = agent_pb.MemorizeRequest(bank_id=bank, items=[item], create_bank=True, wait=True)
    (receipt,) = (await agent.memorize(made)).receipts
    assert receipt.state == agent_pb.CHUNK_STATE_MEMORIZED
    return item
