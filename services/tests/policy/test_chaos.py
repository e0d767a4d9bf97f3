"""What judges the chaos tests, where each thing that may go wrong is a fault; and what kills in them."""

import asyncio
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from memalpha.api.policy.v1alpha1 import policy_service_pb2 as pb

from . import chaos, killer
from .chaos import Chaos, Code, Stream, Weights, faults

WEIGHTS = Weights({1: Path("one"), 2: Path("two"), 4: Path("one")}, served=4, coming=4)
ONE, TWO = (pb.PolicyIdentity(policy_id="tiny", policy_version=number) for number in (1, 2))


def piece(policy: pb.PolicyIdentity, ids: list[int], **changes) -> pb.GenerateResponse:
    given = {"policy": policy, "token_ids": ids, "logprobs": [-1.0] * len(ids)} | changes
    return pb.GenerateResponse(**given)


def last(policy: pb.PolicyIdentity, ids: list[int], tokens: int) -> pb.GenerateResponse:
    usage = pb.Usage(completion_tokens=tokens)
    return piece(policy, ids, usage=usage, finish_reason=pb.FINISH_REASON_LENGTH)


def stream(*pieces: pb.GenerateResponse, code: Code | None = Code.OK, left: bool = False) -> Stream:
    """Asked for four tokens while versions 1 and 2 were served; whole unless told otherwise."""
    request = pb.GenerateRequest(
        tokens=pb.TokenizedPrompt(token_ids=[9]), sampling=pb.SamplingParams(max_tokens=4)
    )
    whole = (piece(ONE, [5, 6], prompt_token_ids=[9]), last(TWO, [7, 8], 4))
    return Stream(request, least=1, most=2, left=left, code=code, pieces=list(pieces or whole))


BEGIN = piece(ONE, [5, 6], prompt_token_ids=[9])
CUT = (BEGIN,)


@pytest.mark.parametrize(
    "each",
    [
        stream(),
        stream(*CUT, code=Code.UNAVAILABLE),
        stream(*CUT, code=Code.CANCELLED, left=True),
        # Who leaves at the very end may have seen it.
        stream(code=Code.CANCELLED, left=True),
    ],
    ids=["whole", "told to come again", "left", "left at the end"],
)
def test_what_may_happen_is_no_fault(each) -> None:
    assert faults([each], WEIGHTS) == []


@pytest.mark.parametrize(
    ("each", "said"),
    [
        (stream(code=None), "never ended"),
        (stream(*CUT), "ends at pieces [] of 1"),
        (stream(BEGIN, last(ONE, [7], 4), last(ONE, [8], 4)), "ends at pieces [1, 2] of 3"),
        (stream(code=Code.UNAVAILABLE), "ended twice"),
        (stream(*CUT, code=Code.INTERNAL), "ended with INTERNAL"),
        (stream(*CUT, code=Code.CANCELLED), "ended with CANCELLED"),
        (stream(BEGIN, last(ONE, [7, 8, 3], 5)), "5 new tokens of 4"),
        (stream(BEGIN, last(ONE, [7, 8], 3)), "3 in usage"),
        (stream(BEGIN, last(ONE, [7], 3)), "cut at 3 tokens of 4"),
        (stream(piece(ONE, [5, 6], prompt_token_ids=[8]), last(ONE, [7, 8], 4)), "the prompt is another"),
        (stream(piece(ONE, [5, 6], logprobs=[-1.0]), code=Code.UNAVAILABLE), "2 ids with 1 logprobs"),
        (stream(piece(ONE, [5], logprobs=[0.5]), code=Code.UNAVAILABLE), "a logprob that is none"),
        (stream(piece(ONE, [5], logprobs=[float("nan")]), code=Code.UNAVAILABLE), "a logprob that is none"),
        (stream(piece(TWO, [5]), piece(ONE, [6]), code=Code.UNAVAILABLE), "versions go back: [2, 1]"),
    ],
)
def test_what_may_not_happen_is_a_fault(each, said) -> None:
    assert any(said in fault for fault in faults([each], WEIGHTS)), faults([each], WEIGHTS)


@pytest.mark.parametrize(
    ("version", "said"), [(3, "versions that were never served: [3]"), (4, "outside of 1 to 2")]
)
def test_a_version_that_was_not_served_then_is_a_fault(version, said) -> None:
    cut = stream(piece(pb.PolicyIdentity(policy_version=version), [5]), code=Code.UNAVAILABLE)
    assert any(said in fault for fault in faults([cut], WEIGHTS))


@pytest.fixture
def kills(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of the processes that a killer kills, none of which there is."""
    found: list[int] = []
    monkeypatch.setattr(killer, "running", killer.NAMES.index)
    monkeypatch.setattr(os, "kill", lambda process, _signal: found.append(process))
    return found


class Engine:
    """Serves in the order of its states, and from then on."""

    def __init__(self, *states: bool) -> None:
        self._states = list(states)
        self._core = SimpleNamespace(down=None)

    @property
    def serving(self) -> bool:
        return self._states.pop(0) if self._states else True


async def test_a_kill_waits_for_the_take_of_its_exchange_and_for_the_end_of_the_outage(
    kills, monkeypatch
) -> None:
    takes, ended = [], asyncio.Event()
    process: Any = None

    async def take(_process: Any, _folder: Path, version: int) -> None:
        takes.append((version, list(kills)))
        await ended.wait()

    async def exchange() -> None:
        await asyncio.sleep(0.05)  # checks of the folder come first
        await killer.Process.take(process, Path(), 2)

    monkeypatch.setattr(killer.Process, "take", take)
    killing = killer.Killer(Engine(True, False, False), monkeypatch)
    running = asyncio.create_task(exchange())
    assert await killing(running)
    assert (takes, kills, running.done()) == ([(2, [])], [0], False)
    ended.set()
    await running
    # The worker is next; an exchange that is over is not waited for.
    monkeypatch.setattr(killing, "_engine", Engine(False))
    assert not await killing(running)
    assert kills == [0, 1]


@pytest.mark.parametrize(("states", "said"), [((), "not noticed"), ((False,) * 1000, "is down")])
async def test_an_engine_that_does_not_come_back_in_time_is_told(kills, monkeypatch, states, said) -> None:
    monkeypatch.setattr(killer, "BACK_SECONDS", 0.1)
    engine = Engine(*states)
    engine._core.down = "it is down" if states else None
    with pytest.raises(pytest.fail.Exception, match=said):
        await killer.Killer(engine, monkeypatch)()
    assert kills == [0]


def test_a_process_that_is_not_there_to_be_killed_is_told_with_those_that_are() -> None:
    pytest.importorskip("psutil")
    with pytest.raises(pytest.fail.Exception, match="must be called no such process; there are"):
        killer.running("no such process")


class Unavailable(grpc.aio.AioRpcError):
    """As a service that is down refuses."""

    def __init__(self) -> None:
        super().__init__(Code.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata())


def loading(monkeypatch: pytest.MonkeyPatch, *, in_the_midst: bool) -> Chaos:
    """Chaos whose exchanges are refused, and whose kills come while they last, or later."""

    async def kill(exchange: asyncio.Task[None] | None = None) -> bool:
        assert exchange is not None
        await asyncio.wait({exchange})
        return in_the_midst

    async def refused(_self: Chaos) -> None:
        raise Unavailable

    async def checked(_self: Chaos) -> None:
        pass

    monkeypatch.setattr(Chaos, "_swap", refused)
    monkeypatch.setattr(Chaos, "_check", checked)
    return Chaos(None, [], WEIGHTS, seed=1, most=4, kill=kill)


async def test_only_an_exchange_that_a_kill_met_is_cut_off_by_it(monkeypatch) -> None:
    met = loading(monkeypatch, in_the_midst=True)
    await met._die_loading()
    assert met.cut_off == 1
    missed = loading(monkeypatch, in_the_midst=False)
    with pytest.raises(grpc.aio.AioRpcError):
        await missed._die_loading()
    assert missed.cut_off == 0


async def test_chaos_ends_when_enough_is_seen_and_says_if_that_is_never(monkeypatch) -> None:
    rounds: list[int] = []

    async def done(_self: Chaos, *_: object) -> None:
        rounds.append(1)

    async def idle(_self: Chaos, *_: object) -> None:
        pass

    monkeypatch.setattr(Chaos, "_round", done)
    monkeypatch.setattr(Chaos, "_client", idle)
    made = Chaos(None, [], WEIGHTS, seed=1, most=4)
    await made.run(0, lambda _: len(rounds) == 3)
    assert len(rounds) == 3
    with pytest.raises(pytest.fail.Exception, match="not all was seen in 20 more rounds: 0 completions"):
        await made.run(0, lambda _: False)
    assert len(rounds) == 3 + chaos.MOST_ROUNDS
