"""A stand-in for vLLM's processes, and the core over it: what a core's tests share."""

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from memalpha.policy.local.job import Piece
from memalpha.policy.local.sampling import Sampling
from memalpha.policy.local.tokens import Decoder
from memalpha.policy.marks import Stamps
from memalpha.policy.stops import StopWatch
from memalpha.policy.vllm import core as core_module
from memalpha.policy.vllm.core import Core
from memalpha.policy.vllm.process import ProcessDied, Step
from memalpha.policy.vllm.request import Request
from memalpha.policy.vllm.weights import Lookout, Weights

BASE, NEW, NEWER = Path("base"), Path("new"), Path("newer")
# Weights, as a stand-in has them: what its tokens are.
NOTHING, MIXED = Path("nothing"), Path("mixed")
SAYS = {BASE: 1, NEW: 2, NEWER: 3, NOTHING: 98, MIXED: 99}
END = 0


class Letters:
    """A tokenizer of letters: 1 is a, 2 is b."""

    def text(self, ids: list[int]) -> str:
        return "".join(chr(96 + each) for each in ids)


@dataclass
class Model:
    """What all stand-ins for vLLM share: how they behave, and what they were asked to do."""

    pause: float = 0.001
    starts: int = 0
    missing: set[Path] = field(default_factory=set)
    # Folders that break off in the middle.
    torn: set[Path] = field(default_factory=set)
    # Folders that were changed, and what they hold now.
    changed: dict[Path, str] = field(default_factory=dict)
    # Folders whose files were touched, and when last.
    touched: dict[Path, int] = field(default_factory=dict)
    # Folders that were looked at, and those that were read for it.
    looked: list[Path] = field(default_factory=list)
    read: list[Path] = field(default_factory=list)
    # Seconds, as the lookout has them.
    clock: float = 0.0
    running: list["Stand"] = field(default_factory=list)
    legs: list[tuple[int, list[int], int]] = field(default_factory=list)
    open_legs: int = 0
    fails: bool = False
    # Of each token, in the place of the right logprob.
    logprob: float | None = None
    # Why nothing is ready once it has started.
    unready: Exception | None = None
    scoring: list[int] = field(default_factory=lambda: [0, 0])
    may_start: threading.Event = field(default_factory=threading.Event)

    def start(self) -> "Stand":
        self.may_start.wait(20)
        self.starts += 1
        self.running.append(Stand(self))
        return self.running[-1]

    def start_empty(self) -> "Stand":
        started = self.start()
        started.weights = NOTHING
        return started

    def marked(self, folder: Path) -> dict[str, str]:
        self.read.append(folder)
        if folder in self.missing:
            raise FileNotFoundError(folder)
        return {"model.safetensors": self.changed.get(folder, folder.name)}

    def stamped(self, folder: Path) -> Stamps:
        self.looked.append(folder)
        if folder in self.missing:
            raise FileNotFoundError(folder)
        return stamps(folder, len(self.changed.get(folder, "")), self.touched.get(folder, 0))

    @property
    def now(self) -> "Stand":
        return self.running[-1]


class Stand:
    """A stand-in for one run of vLLM: writes the number of its weights, over and over."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.dead = False
        self.weights = BASE
        self.taken: list[tuple[Path, int]] = []

    async def ready(self) -> None:
        if self.model.unready is not None:
            raise self.model.unready

    async def complete(self, request: Request, name: str) -> AsyncGenerator[Step]:
        self.model.legs.append((int(name), list(request.prompt + request.new), request.seed))
        self.model.open_legs += 1
        try:
            if self.model.fails:
                raise RuntimeError("out of memory")
            for _ in range(request.left):
                await asyncio.sleep(self.model.pause)
                self._check()
                said, logprob = SAYS[self.weights], self.model.logprob
                yield Step([said], [-float(said) if logprob is None else logprob], cached=3)
        finally:
            self.model.open_legs -= 1

    async def score(self, sequence: list[int], name: str) -> list[float]:
        now, most = self.model.scoring
        self.model.scoring = [now + 1, max(most, now + 1)]
        try:
            await asyncio.sleep(self.model.pause)
        finally:
            self.model.scoring[0] -= 1
        self._check()
        return [float(SAYS[self.weights])] * (len(sequence) - 1)

    async def take(self, folder: Path, version: int) -> None:
        self._check()
        if folder in self.model.torn:
            self.weights = MIXED
            raise ValueError("a tensor is missing")
        assert self.model.open_legs == 0
        await asyncio.sleep(self.model.pause)
        self._check()
        self.weights = folder
        self.taken.append((folder, version))

    def stop(self) -> None:
        self.dead = True

    def _check(self) -> None:
        if self.dead:
            raise ProcessDied


def stamps(folder: Path, size: int = 0, time: int = 0) -> Stamps:
    return {folder / "model.safetensors": (1, size, time)}


def weights(folder: Path, version: int, *, like: Path | None = None) -> Weights:
    """Weights as they lay in a folder at first, where they are like those of another if that is named."""
    return Weights(folder, version, {"model.safetensors": (like or folder).name}, stamps(folder))


@asynccontextmanager
async def opened(*, empty: bool = False, rows: int = 2, **model: Any) -> AsyncIterator[tuple[Core, Model]]:
    """A core over stand-ins that start at once, without weights too if `empty`."""
    made = Model(**model)
    made.may_start.set()
    without: Any = made.start_empty if empty else None
    lookout = Lookout(made.marked, made.stamped, lambda: made.clock)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(core_module, "_LOOK_SECONDS", 0.005)
        patch.setattr(core_module, "_FIRST_PAUSE", 0.005)
        core = Core(made.start, weights(BASE, 1), lookout, without, rows=rows)  # pyright: ignore[reportArgumentType]
        try:
            yield core, made
        finally:
            made.may_start.set()
            await asyncio.to_thread(core.close)


def request(*, most: int = 5, seed: int = 7, schema: str = "", stop: str = "") -> Request:
    return Request(
        [9, 9],
        Sampling(),
        seed=seed,
        most=most,
        ends=frozenset([END]),
        schema=schema,
        decoder=Decoder(Letters()),  # pyright: ignore[reportArgumentType]
        stops=StopWatch([stop] if stop else []),
    )


async def written(core: Core, made: Request, most: int = 100) -> list[Piece]:
    core.submit(made, most)
    try:
        return [piece async for piece in made.pieces()]
    finally:
        made.cancel()


async def until(condition: Any) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.002)


def no_probe(_scores: list[list[float]]) -> float:
    return 0.0
