"""vLLM's calls, over a stand-in for vLLM whose processes die and leave calls open."""

import asyncio
import threading
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from types import SimpleNamespace

import pytest

from memalpha.errors import UnsupportedError
from memalpha.policy.vllm import process
from memalpha.policy.vllm.process import Process, ProcessDied


class Silent:
    """Answers no call, as vLLM does once its processes are gone."""

    errored = False

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.left = False

    async def generate(self, *_what: object, lora_request: object) -> AsyncGenerator[object]:
        await self.pause_generation()
        yield

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

    async def generate(self, *_what: object, lora_request: object) -> AsyncGenerator[object]:
        await self.pause_generation()
        yield

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


@pytest.mark.timeout(20)
async def test_a_score_ends_with_the_processes_that_leave_it_open(monkeypatch) -> None:
    monkeypatch.setattr(process, "vllm", SimpleNamespace(SamplingParams=SimpleNamespace))
    monkeypatch.setattr(process, "_params", SimpleNamespace(RequestOutputKind=SimpleNamespace(FINAL_ONLY=1)))
    llm = Silent()
    scoring = asyncio.create_task(Process(llm).score([5, 6], "1"))
    await llm.asked.wait()
    llm.errored = True
    with pytest.raises(ProcessDied):
        await scoring


@pytest.mark.timeout(20)
def test_who_stops_processes_that_are_being_stopped_waits_for_their_end() -> None:
    begun, may_end = threading.Event(), threading.Event()

    def shutdown(*, timeout: int) -> None:
        begun.set()
        may_end.wait()

    stopped = Process(SimpleNamespace(output_handler=None, shutdown=shutdown))
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(stopped.stop)
        begun.wait()
        second = pool.submit(stopped.stop)
        # The control: it could have returned at once.
        assert wait([second], timeout=0.2).not_done
        may_end.set()
        first.result()
        second.result()


async def test_an_exchange_that_is_cut_off_is_cut_off_in_vllm_too() -> None:
    llm = Silent()
    taking = asyncio.create_task(Process(llm).take(Path("new"), 2))
    await llm.asked.wait()
    taking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await taking
    await asyncio.sleep(0)
    assert llm.left


class Adapting(Silent):
    """Takes an adapter, or fails to."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__()
        self._error = error
        self.added: list[str] = []

    async def add_lora(self, lora: SimpleNamespace) -> bool:
        if self._error is not None:
            raise self._error
        self.added.append(lora.lora_path)
        return True


@pytest.fixture
def with_adapters(monkeypatch) -> None:
    def lora(name: str, number: int, path: str) -> SimpleNamespace:
        return SimpleNamespace(lora_name=name, lora_int_id=number, lora_path=path)

    monkeypatch.setattr(process, "_lora", SimpleNamespace(LoRARequest=lora))
    monkeypatch.setattr(process, "_LOOKS", 1)


@pytest.mark.usefixtures("with_adapters")
async def test_an_adapter_is_loaded_before_anything_is_asked_for(tmp_path) -> None:
    llm = Adapting()
    await Process(llm, tmp_path).ready()
    assert llm.added == [str(tmp_path)]
    await Process(Adapting(AssertionError("there is none"))).ready()


@pytest.mark.usefixtures("with_adapters")
@pytest.mark.parametrize(
    ("error", "said"),
    [(ValueError("no module self_attn"), "no module self_attn"), (ProcessDied(), "died of it")],
)
async def test_an_adapter_that_vllm_refuses_is_told_by_name(tmp_path, error, said) -> None:
    with pytest.raises(UnsupportedError, match=said) as caught:
        await Process(Adapting(error), tmp_path).ready()
    assert caught.value.reason == "ADAPTER_NOT_LOADED"
    assert str(tmp_path) in str(caught.value)
