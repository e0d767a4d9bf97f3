"""What kills vLLM in the tests of chaos; it knows no model's libraries."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from memalpha.policy.vllm.process import Process

from .engines import PLACE

# vLLM's processes, as the system cuts their names off. Over one GPU there is no worker: the engine computes.
NAMES = ("VLLM::Engin", "VLLM::Worke") if PLACE["device"] == "cpu" else ("VLLM::Engin",)
# From the beginning of a take, which lasts a tenth of a second; of another number than names.
DELAYS = (0.0, 0.02, 0.05)
# A start takes ten seconds where nothing else runs.
BACK_SECONDS = 600


class Killer:
    """Kills vLLM's engine and the worker below it, if any, by turns; waits each time until vLLM is back."""

    def __init__(self, engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self._engine, self._kills, self._takes = engine, 0, 0
        take = Process.take

        async def counted(process: Process, folder: Path, version: int) -> None:
            self._takes += 1
            try:
                await take(process, folder, version)
            finally:
                self._takes -= 1

        monkeypatch.setattr(Process, "take", counted)

    async def __call__(self, exchange: asyncio.Task[None] | None = None) -> bool:
        """See `chaos.Killer`."""
        name, delay = NAMES[self._kills % len(NAMES)], DELAYS[self._kills % len(DELAYS)]
        self._kills += 1
        # Looked up before, as that takes longer than weights of this size.
        victim = running(name)
        if exchange is not None:
            while not self._takes and not exchange.done():
                await asyncio.sleep(0.001)
            await asyncio.sleep(delay)
        in_the_midst = exchange is not None and not exchange.done()
        os.kill(victim, signal.SIGKILL)
        try:
            async with asyncio.timeout(BACK_SECONDS):
                await self._back()
        except TimeoutError:
            pytest.fail(
                f"{BACK_SECONDS} s after {name} was killed: {self._engine._core.down or 'not noticed'}"
            )
        return in_the_midst

    async def _back(self) -> None:
        while self._engine.serving:
            await asyncio.sleep(0.01)
        while not self._engine.serving:
            await asyncio.sleep(0.05)


def running(name: str) -> int:
    """The process of that name below this one."""
    import psutil  # pyright: ignore[reportMissingModuleSource]

    below = psutil.Process().children(recursive=True)
    alive = [(each.name(), each.pid) for each in below if each.status() != psutil.STATUS_ZOMBIE]
    found = [process for each, process in alive if each.startswith(name)]
    if len(found) != 1:
        names = sorted(each for each, _ in alive)
        pytest.fail(f"one process below this one must be called {name}; there are {names}")
    return found[0]
