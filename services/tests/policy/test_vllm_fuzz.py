"""Clients, loads, deaths and folders that come and go, as a seed has them, over a stand-in for vLLM.

Whatever the order, a token is of the weights whose number its piece names, a probe sees the weights that it
is for, calls end, and behind it all the core serves again.
"""

import asyncio
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from memalpha.errors import ConflictError, MemalphaError, make
from memalpha.policy.vllm import core as core_module
from memalpha.policy.vllm.core import Core

from .stands import BASE, NEW, NEWER, SAYS, Model, no_probe, opened, request, stamps, until, weights, written

FOLDERS = (BASE, NEW, NEWER)
COME_AGAIN = {"ENGINE_DIED", "WEIGHTS_GONE", "SCORES_INTERRUPTED"}


class Fuzz:
    """What a seed does to one core, and what was wrong."""

    def __init__(self, core: Core, model: Model, seed: int) -> None:
        self.core, self.model, self.chance = core, model, random.Random(seed)
        # Folders by the numbers they were loaded under.
        self.folders = {1: BASE}
        self.faults: list[str] = []
        self.served = 0
        self.over = False

    async def run(self) -> None:
        """Until the world has been through all it does."""
        clients = [
            asyncio.create_task(each()) for each in (self.client, self.client, self.scorer, self.loader)
        ]
        await self.world()
        self.over = True
        for wrong in (self.model.missing, self.model.changed, self.model.torn):
            wrong.clear()
        # What could not be loaded is tried again once its files change.
        self.model.touched |= {folder: self.model.touched.get(folder, 0) + 1 for folder in FOLDERS}
        await asyncio.wait_for(asyncio.gather(*clients), 60)
        await until(lambda: self.core.down is None)

    async def client(self) -> None:
        while not self.over:
            made = request(most=self.chance.randint(1, 8), schema=self.chance.choice(["", "", "{}"]))
            try:
                for piece in await written(self.core, made):
                    self.expect([float(token) for token in piece.ids], piece.version)
                self.served += 1
            except MemalphaError as error:
                self.faults += [] if error.reason in COME_AGAIN else [f"{error.reason}: {error}"]
            await asyncio.sleep(0.001)

    async def scorer(self) -> None:
        while not self.over:
            try:
                found, version = await self.core.score([[1, 2], [1, 2, 3]])
                self.expect(found[0] + found[1], version)
            except MemalphaError as error:
                self.faults += [] if error.reason in COME_AGAIN else [f"{error.reason}: {error}"]
            await asyncio.sleep(0.001)

    async def loader(self) -> None:
        number = 1
        while not self.over:
            folder, again = self.chance.choice(FOLDERS), self.chance.random() < 0.2
            number += not again
            wanted = self.core.version if again else number
            if not again:
                self.folders[wanted] = folder
            try:
                seen = stamps(folder, time=self.model.touched.get(folder, 0))
                made = replace(weights(folder, wanted), stamps=seen)
                await self.core.exchange(made, [[1, 2]], self.probe(folder))
            except MemalphaError:
                # A number that was never served stands for nothing.
                self.folders.pop(wanted if not again else 0, None)
            await asyncio.sleep(self.chance.uniform(0, 0.01))

    def probe(self, folder: Path) -> Any:
        refuses = self.chance.random() < 0.3

        def probe(scores: list[list[float]]) -> float:
            if scores != [[float(SAYS[folder])]]:
                self.faults.append(f"the probe of {folder} saw {scores}")
            if refuses:
                raise make(ConflictError, "PROBE_FAILED", "off")
            return no_probe(scores)

        return probe

    async def world(self) -> None:
        model, chance = self.model, self.chance
        deeds = [
            lambda _: setattr(model.now, "dead", True),
            model.missing.add,
            lambda folder: model.changed.update({folder: "other"}),
            lambda folder: model.touched.update({folder: model.touched.get(folder, 0) + 1}),
            model.torn.add,
            *[lambda _: (model.missing.clear(), model.changed.clear(), model.torn.clear())] * 3,
        ]
        for _ in range(60):
            chance.choice(deeds)(chance.choice(FOLDERS))
            await asyncio.sleep(chance.uniform(0, 0.04))

    def expect(self, tokens: list[float], version: int) -> None:
        folder = self.folders.get(version)
        if folder is None or set(tokens) - {float(SAYS[folder])}:
            self.faults.append(f"version {version} of {folder} wrote {tokens}")


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_happens_a_version_is_served_by_its_own_weights_alone(seed, monkeypatch) -> None:
    monkeypatch.setattr(core_module, "_LONGEST_PAUSE", 0.01)
    async with opened(empty=True) as (core, model):
        fuzz = Fuzz(core, model, seed)
        await fuzz.run()
        assert fuzz.faults == []
        assert fuzz.served > 0


async def test_weights_that_were_not_undone_would_be_seen(monkeypatch) -> None:
    async def nothing(_core: Core, _process: Any) -> None:
        pass

    monkeypatch.setattr(core_module, "_LONGEST_PAUSE", 0.01)
    monkeypatch.setattr(Core, "_undo", nothing)
    found: list[str] = []
    for seed in range(10):
        async with opened(empty=True) as (core, model):
            fuzz = Fuzz(core, model, seed)
            await fuzz.run()
            found += fuzz.faults
        if found:
            break
    assert any("wrote" in fault for fault in found)
