"""vLLM's calls, over a stand-in for vLLM whose processes die and leave calls open."""

import asyncio
from pathlib import Path
from types import SimpleNamespace

import pytest

from memalpha.policy.vllm import process
from memalpha.policy.vllm.process import Process, ProcessDied


class Silent:
    """Answers no call, as vLLM does once its processes are gone."""

    errored = False

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.left = False

    async def pause_generation(self, **_how: object) -> None:
        self.asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.left = True


@pytest.fixture(autouse=True)
def without_vllm(monkeypatch) -> None:
    monkeypatch.setattr(process, "_dead", SimpleNamespace(EngineDeadError=ZeroDivisionError))
    monkeypatch.setattr(process, "_exceptions", SimpleNamespace(VLLMClientError=ZeroDivisionError))


@pytest.mark.timeout(20)
async def test_an_exchange_ends_with_the_processes_that_leave_it_open() -> None:
    llm = Silent()
    taking = asyncio.create_task(Process(llm).take(Path("new"), 2))
    await llm.asked.wait()
    # The control: as long as they live, it waits.
    await asyncio.wait({taking}, timeout=0.3)
    assert not taking.done()
    llm.errored = True
    with pytest.raises(ProcessDied):
        await taking
    await asyncio.sleep(0)
    assert llm.left


class Failing(Silent):
    """Fails a call, and is known to be dead a while later, or is not dead."""

    def __init__(self, *, dies: bool) -> None:
        super().__init__()
        self._dies = dies

    async def pause_generation(self, **_how: object) -> None:
        asyncio.get_running_loop().call_later(0.05, self._die)
        raise RuntimeError("cancelled")

    def _die(self) -> None:
        self.errored = self._dies


@pytest.mark.parametrize(("dies", "told"), [(True, ProcessDied), (False, RuntimeError)])
async def test_a_failure_of_processes_that_die_is_their_death(dies, told, monkeypatch) -> None:
    monkeypatch.setattr(process, "_LOOKS", 3)
    with pytest.raises(told):
        await Process(Failing(dies=dies)).take(Path("new"), 2)


async def test_an_exchange_that_is_cut_off_is_cut_off_in_vllm_too() -> None:
    llm = Silent()
    taking = asyncio.create_task(Process(llm).take(Path("new"), 2))
    await llm.asked.wait()
    taking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await taking
    await asyncio.sleep(0)
    assert llm.left
