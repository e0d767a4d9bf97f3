"""What vLLM itself has in work: a completion comes piece by piece, and one that nobody reads is given up."""

import asyncio
import math
from collections.abc import Callable
from typing import Any

import pytest

from memalpha.client import methods
from memalpha.policy.local import job

from .engines import over
from .test_conformance import asked

pytest.importorskip("vllm", reason="needs vllm: uv sync --group vllm")

# vLLM takes its time to start, and its libraries warn of one another.
pytestmark = [pytest.mark.timeout(600), pytest.mark.filterwarnings("ignore")]

# Far more than is written before anybody looks.
LONG = 2000


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(300):
        while not condition():
            await asyncio.sleep(0.005)


async def ignored(*_which: object, **_how: object) -> None:
    """Stands for vLLM's `abort`, and aborts nothing."""


@pytest.mark.parametrize("frees", [True, False], ids=["freed", "control"])
async def test_a_completion_that_nobody_reads_is_not_open_in_vllm(vllm_core, monkeypatch, frees) -> None:
    shared = vllm_core()
    core = shared[1]
    llm = core._process._llm
    open_requests: dict[str, Any] = llm.output_processor.request_states
    await until(lambda: not open_requests)
    if not frees:
        monkeypatch.setattr(llm, "abort", ignored)
    async with over(shared) as service:
        running = asyncio.create_task(service.client.generate(asked(max_tokens=LONG)))
        await until(lambda: any(request.new for request in core._requests))
        (name,) = open_requests
        running.cancel()
        await asyncio.wait({running})
        # The leg waits for vLLM's answer to its end.
        await until(lambda: not core._gate.legs)
        assert (name in open_requests) == (not frees)
        if not frees:
            monkeypatch.undo()
            again = asyncio.run_coroutine_threadsafe(llm.abort(name, internal=True), core._loop)
            await asyncio.wrap_future(again)
        assert not open_requests


# Either way of the last two, readers are woken at the end alone.
@pytest.mark.parametrize(
    ("stream", "waking", "streams"),
    [(True, job._WAKING_SECONDS, True), (True, math.inf, False), (False, 0.0, False)],
    ids=["streams", "control", "whole"],
)
async def test_the_first_piece_comes_before_the_last_is_written_unless_completions_come_whole(
    vllm_core, monkeypatch, stream, waking, streams
) -> None:
    monkeypatch.setattr(job, "_WAKING_SECONDS", waking)
    made = asked(max_tokens=300, tokens=True)
    async with over(vllm_core(), stream=stream) as service:
        replies = service.client._transport.stream(methods.GENERATE, made, timeout=300)
        found = [piece async for piece in replies]
    assert (len(found) > 1) == streams
    assert bool(found[0].finish_reason) == (not streams)
    assert found[-1].finish_reason
    assert [bool(each.token_ids) for each in found] == [True] * len(found)
