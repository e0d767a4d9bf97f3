"""What the core loads again, and what it never serves; scores that exchanges interrupt. Over a stand-in."""

import asyncio
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from memalpha.errors import ConflictError, InternalError, UnavailableError, UnsupportedError, make
from memalpha.policy.vllm import core as core_module
from memalpha.policy.vllm import scores as scores_module
from memalpha.policy.vllm import weights as weights_module
from memalpha.policy.vllm.core import Core

from .stands import (
    BASE,
    NEW,
    NEWER,
    Model,
    Stand,
    no_probe,
    opened,
    request,
    stamps,
    until,
    weights,
    written,
)


async def versions(core: Core) -> set[int]:
    """That a completion is written by; tokens of another one's weights are none."""
    pieces = await written(core, request())
    assert {each for piece in pieces for each in piece.ids} <= {1, 2, 3}
    return {piece.version for piece in pieces}


async def given_up(core: Core, model: Model) -> None:
    """Has weights served that cannot be loaded again once vLLM has died."""
    await core.exchange(weights(NEW, 2), [], no_probe)
    model.torn.add(NEW)
    model.now.dead = True
    await until(lambda: core.bare)


async def looked_again(model: Model) -> None:
    """Waits until the watch has looked at the folder some times more."""
    seen = len(model.looked)
    await until(lambda: len(model.looked) > seen + 3)


def touching(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Has a folder's files touched while vLLM reads it."""
    take = Stand.take

    async def touched(self: Stand, path: Path, version: int) -> None:
        await take(self, path, version)
        if path == folder:
            self.model.touched[folder] = self.model.touched.get(folder, 0) + 1

    monkeypatch.setattr(Stand, "take", touched)


@pytest.mark.parametrize("when", ["before", "meanwhile"])
async def test_weights_that_were_touched_since_they_were_checked_are_not_served(monkeypatch, when) -> None:
    async with opened() as (core, model):
        if when == "before":
            model.touched[NEW] = 1
        else:
            touching(monkeypatch, NEW)
        with pytest.raises(InternalError, match="were changed while they were loaded") as caught:
            await core.exchange(weights(NEW, 2), [], no_probe)
        assert caught.value.reason == "LOAD_FAILED"
        assert core.version == 1
        # Of files that vLLM has not begun to read it has nothing to be rid of.
        assert model.running[0].dead == (when == "meanwhile")
        await until(lambda: core.down is None and model.starts == (2 if when == "meanwhile" else 1))
        assert await versions(core) == {1}
        # The control: others are taken.
        await core.exchange(weights(NEWER, 3), [], no_probe)


async def test_a_model_that_is_touched_while_it_starts_is_not_served_but_started_again() -> None:
    async with opened() as (core, model):
        start = core._start

        def touched() -> Any:
            made = start()
            if model.starts == 2:
                model.touched[BASE] = 1
            return made

        core._start = touched
        model.now.dead = True
        await until(lambda: model.starts == 3 and core.down is None)
        assert model.running[1].dead
        assert await versions(core) == {1}


def test_a_model_that_is_touched_while_it_starts_for_the_first_time_is_told() -> None:
    model: Any = Model()
    model.may_start.set()
    model.touched[BASE] = 1
    lookout = weights_module.Lookout(model.marked, model.stamped)
    with pytest.raises(InternalError, match="were changed while they were loaded"):
        Core(model.start, weights(BASE, 1), lookout)
    assert model.now.dead


async def test_weights_that_are_back_are_read_while_nothing_else_is_loaded(monkeypatch) -> None:
    monkeypatch.setattr(core_module, "_LONGEST_PAUSE", 0.01)
    async with opened(empty=True) as (core, model):
        model.missing.add(BASE)
        model.now.dead = True
        await until(lambda: core.bare)

        def on_its_thread(work: Any) -> Any:
            return asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, core._loop))

        async def let_go() -> None:
            core._loading.release()

        await on_its_thread(core._loading.acquire())
        read = len(model.read)
        model.missing.clear()
        await asyncio.sleep(0.1)
        assert len(model.read) == read
        await on_its_thread(let_go())
        await until(lambda: core.down is None)


async def test_old_weights_that_cannot_be_loaded_again_and_again_make_room_for_newer_ones() -> None:
    async with opened() as (core, model):
        await given_up(core, model)
        with pytest.raises(
            UnavailableError, match=r"could not be loaded again \(a tensor is missing"
        ) as caught:
            await written(core, request())
        assert caught.value.reason == "WEIGHTS_GONE"
        # The first start, four whose loads failed, and one that was left alone.
        assert model.starts == 6
        await core.exchange(weights(NEWER, 3), [], no_probe)
        assert await versions(core) == {3}


async def test_old_weights_that_could_not_be_loaded_are_tried_again_when_their_files_change() -> None:
    async with opened() as (core, model):
        await given_up(core, model)
        model.torn.clear()
        model.touched[NEW] = 1
        await until(lambda: core.down is None)
        assert await versions(core) == {2}


async def test_old_weights_that_could_not_be_loaded_are_tried_again_after_a_rest_by_a_single_start() -> None:
    async with opened() as (core, model):
        await given_up(core, model)
        model.clock = weights_module.REST_SECONDS - 1
        await looked_again(model)
        # The first start, four whose loads failed, and one that was left alone.
        assert model.starts == 6
        model.clock = weights_module.REST_SECONDS
        await until(lambda: core.bare and model.starts == 7)
        model.torn.clear()
        await looked_again(model)
        assert core.bare
        model.clock = 2 * weights_module.REST_SECONDS
        await until(lambda: core.down is None)
        assert await versions(core) == {2}


async def test_old_weights_that_could_not_be_loaded_are_what_they_were_once_somebody_loads_them() -> None:
    async with opened() as (core, model):
        await given_up(core, model)
        model.torn.clear()
        await core.exchange(weights(NEW, 2), [], no_probe)
        assert await versions(core) == {2}
        model.now.dead = True
        await until(lambda: model.starts == 7 and core.down is None)
        assert await versions(core) == {2}


async def test_a_model_that_does_not_start_again_is_started_without_its_weights_and_takes_them() -> None:
    def failing() -> Any:
        raise make(UnsupportedError, "MODEL_NOT_LOADED", "no such thing")

    async with opened(empty=True) as (core, model):
        core._start = failing
        model.now.dead = True
        await until(lambda: model.starts == 2 and core.down is None)
        assert model.now.taken == [(BASE, 1)]
        assert await versions(core) == {1}


async def test_old_weights_that_are_taken_again_do_not_hide_that_vllm_died_meanwhile() -> None:
    async with opened() as (core, model):
        stamped = core._lookout._stamped

        def dies(folder: Path) -> Any:
            # The last look of all at the old weights: the next run has not begun, and knows none of this.
            if (BASE, 1) in model.now.taken:
                model.may_start.clear()
                model.now.dead = True
                began = time.monotonic()
                while core._process is not None and time.monotonic() < began + 20:
                    time.sleep(0.002)
            return stamped(folder)

        core._lookout._stamped = dies
        with pytest.raises(ConflictError):
            await core.exchange(weights(NEW, 2), [[1, 2]], refuse)
        # All that was to be undone is undone, of a process that is no more.
        assert model.running[0].taken == [(NEW, 2), (BASE, 1)]
        assert core.down is not None
        assert core.down.reason == "ENGINE_DIED"
        with pytest.raises(UnavailableError):
            core.submit(request(), 10)
        model.may_start.set()
        await until(lambda: core.down is None)
        assert await versions(core) == {1}


@pytest.mark.parametrize("served", [BASE, NEW])
async def test_files_that_hold_something_else_are_read_once_and_told_of_once(monkeypatch, served) -> None:
    told: list[str] = []
    log = SimpleNamespace(error=lambda *_, why, **__: told.append(why))
    monkeypatch.setattr(weights_module, "_log", log)
    monkeypatch.setattr(core_module, "_LONGEST_PAUSE", 0.01)
    async with opened(empty=True) as (core, model):
        if served is NEW:
            await core.exchange(weights(NEW, 2), [], no_probe)
        model.changed[served] = "others"
        model.now.dead = True
        await until(lambda: core.bare)
        looked = model.looked.count(served)
        await until(lambda: model.looked.count(served) > looked + 5)
        assert model.read.count(served) == 1
        assert told == ["are not those any more that were served"]
        model.changed.clear()
        await until(lambda: core.down is None)
        assert await versions(core) == {core.version}


async def test_a_refusal_is_for_the_reason_that_there_was_when_it_was_asked_for(monkeypatch) -> None:
    async with opened() as (core, _):
        reasons = iter([make(UnavailableError, "ENGINE_DIED", "it died"), None])
        with monkeypatch.context() as patch:
            patch.setattr(Core, "down", property(lambda _self: next(reasons)))
            with pytest.raises(UnavailableError, match="it died"):
                core.submit(request(), 10)


class Slow:
    """Scores of sequences of two tokens alone, and counts them; others take for ever."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun: list[int] = []
        self.ended: list[int] = []
        score = Stand.score

        async def slow(stand: Stand, sequence: list[int], name: str) -> list[float]:
            self.begun.append(sequence[0])
            if len(sequence) > 2:
                await asyncio.Event().wait()
            found = await score(stand, sequence, name)
            self.ended.append(sequence[0])
            return found

        monkeypatch.setattr(Stand, "score", slow)


def refuse(_scores: list[list[float]]) -> float:
    raise make(ConflictError, "PROBE_FAILED", "off")


async def test_a_probe_does_not_wait_for_scores(monkeypatch) -> None:
    slow = Slow(monkeypatch)
    async with opened() as (core, _):
        scoring = asyncio.create_task(core.score([[1, 2, 3]] * 3))
        await until(lambda: slow.begun)
        assert await asyncio.wait_for(core.probe([[1, 2], [3, 4]]), 20) == [[1.0], [1.0]]
        # The control: scores wait for one another.
        later = asyncio.create_task(core.score([[1, 2]]))
        await asyncio.wait({later}, timeout=0.1)
        assert not later.done()
        scoring.cancel()
        assert await asyncio.wait_for(later, 20) == ([[1.0]], 1)


async def test_what_is_scored_is_kept_if_an_exchange_that_is_refused_comes_between(monkeypatch) -> None:
    slow = Slow(monkeypatch)
    async with opened(pause=0.02) as (core, _):
        scoring = asyncio.create_task(core.score([[place, 2] for place in range(8)]))
        await until(lambda: len(slow.ended) >= 3)
        with pytest.raises(ConflictError):
            await core.exchange(weights(NEW, 2), [[100, 2]], refuse)
        assert await asyncio.wait_for(scoring, 20) == ([[1.0]] * 8, 1)
        assert len(slow.ended) == len(set(slow.ended)) == 9


async def test_what_is_scored_is_all_by_one_version(monkeypatch) -> None:
    slow = Slow(monkeypatch)
    async with opened(pause=0.02) as (core, _):
        scoring = asyncio.create_task(core.score([[place, 2] for place in range(6)]))
        await until(lambda: len(slow.ended) >= 3)
        await core.exchange(weights(NEW, 2), [], no_probe)
        assert await asyncio.wait_for(scoring, 20) == ([[2.0]] * 6, 2)


async def test_scores_that_take_longer_than_weights_stay_are_given_up(monkeypatch) -> None:
    slow = Slow(monkeypatch)
    async with opened() as (core, _):
        scoring = asyncio.create_task(core.score([[1, 2, 3]]))
        exchanges = 0
        while not scoring.done() and exchanges < 20:
            await until(lambda least=exchanges: len(slow.begun) > least or scoring.done())
            exchanges += 1
            await core.exchange(weights((NEW, NEWER)[exchanges % 2], 1 + exchanges), [], no_probe)
        with pytest.raises(UnavailableError, match="send fewer or shorter sequences") as caught:
            await asyncio.wait_for(scoring, 20)
        assert caught.value.reason == "SCORES_INTERRUPTED"
        # The first time, and eight more.
        assert len(slow.begun) == 1 + scores_module._RESTARTS


async def test_scores_that_refused_exchanges_never_let_end_are_given_up(monkeypatch) -> None:
    slow = Slow(monkeypatch)
    async with opened() as (core, _):
        scoring = asyncio.create_task(core.score([[1, 2, 3]]))
        for least in range(20):
            await until(lambda least=least: len(slow.begun) > least or scoring.done())
            if scoring.done():
                break
            with pytest.raises(ConflictError):
                await core.exchange(weights(NEW, 2), [], refuse)
        with pytest.raises(UnavailableError, match="send fewer or shorter") as caught:
            await asyncio.wait_for(scoring, 20)
        assert caught.value.reason == "SCORES_INTERRUPTED"


def test_a_folder_is_touched_when_its_tensors_or_configurations_are(tmp_path) -> None:
    from memalpha.policy.marks import check_untouched
    from memalpha.policy.marks import stamps as real

    for name in ("config.json", "model.safetensors", "notes.txt"):
        (tmp_path / name).write_text("1")
    before = real(tmp_path)
    (tmp_path / "notes.txt").write_text("22")
    check_untouched(tmp_path, 2, before, real(tmp_path))
    for name, text in (("model.safetensors", "22"), ("more.safetensors", "1"), ("config.json", "22")):
        before = real(tmp_path)
        (tmp_path / name).write_text(text)
        with pytest.raises(InternalError) as caught:
            check_untouched(tmp_path, 2, before, real(tmp_path))
        assert caught.value.reason == "LOAD_FAILED"
    assert stamps(tmp_path).keys() <= real(tmp_path).keys()
