"""The thread that owns vLLM, over a stand-in for vLLM's processes; see test_vllm_* for the real ones."""

import asyncio
import math
import threading
import time
from typing import Any

import pytest

from memalpha.api.policy.v1alpha1 import policy_service_pb2 as pb
from memalpha.errors import BusyError, ConflictError, InternalError, UnavailableError, UnsupportedError, make
from memalpha.policy.vllm.core import Core

from .stands import (
    BASE,
    NEW,
    NEWER,
    SAYS,
    Model,
    Stand,
    no_probe,
    opened,
    request,
    until,
    weights,
    written,
)


async def test_a_completion_is_written_to_its_limit() -> None:
    async with opened() as (core, _):
        pieces = await written(core, request())
    assert "".join(piece.text for piece in pieces) == "aaaaa"
    assert pieces[-1].reason == pb.FINISH_REASON_LENGTH
    assert {piece.version for piece in pieces} == {1}


async def test_a_stop_text_frees_the_row_at_once() -> None:
    async with opened() as (core, model):
        pieces = await written(core, request(most=10_000, stop="aaaa"))
        await until(lambda: model.open_legs == 0 and core.count == 0)
    assert pieces[-1].reason == pb.FINISH_REASON_STOP


async def test_who_stops_reading_frees_the_row() -> None:
    async with opened() as (core, model):
        made = request(most=10_000)
        core.submit(made, 100)
        await until(lambda: model.open_legs == 1)
        made.cancel()
        await until(lambda: model.open_legs == 0 and core.count == 0)


async def test_more_than_may_wait_are_told_to_come_again() -> None:
    async with opened() as (core, _):
        made = [request(most=10_000) for _ in range(3)]
        for each in made[:2]:
            core.submit(each, 2)
        with pytest.raises(BusyError) as caught:
            core.submit(made[2], 2)
        assert caught.value.reason == "POLICY_OVERLOADED"
        for each in made[:2]:
            each.cancel()
        await until(lambda: core.count == 0)
        core.submit(made[2], 2)


async def test_completions_in_work_go_on_under_new_weights_and_say_so() -> None:
    async with opened() as (core, model):
        made = request(most=40)
        running = asyncio.create_task(written(core, made))
        await until(lambda: len(made.new) >= 5)
        await core.exchange(weights(NEW, 2), [], no_probe)
        pieces = await running
    ids = [each for piece in pieces for each in piece.ids]
    assert len(ids) == 40
    assert {(piece.version, each) for piece in pieces for each in piece.ids} == {(1, 1), (2, 2)}
    # The second leg reads what the first one wrote, by another chance.
    (_, first, seed), (_, second, later) = model.legs
    assert second == [*first, *ids[: len(second) - 2]]
    assert ids[: len(second) - 2] == [1] * (len(second) - 2)
    assert seed == 7 != later


async def test_no_leg_begins_while_weights_are_exchanged() -> None:
    async with opened(pause=0.01) as (core, model):
        running = [asyncio.create_task(written(core, request(most=20))) for _ in range(8)]
        await until(lambda: model.open_legs == 8)
        # `take` of the stand-in asserts that it is alone; these come while it works.
        exchange = asyncio.create_task(core.exchange(weights(NEW, 2), [], no_probe))
        late = [asyncio.create_task(written(core, request(most=3))) for _ in range(4)]
        await exchange
        found = await asyncio.gather(*running, *late)
    assert all(sum(len(piece.ids) for piece in pieces) in (20, 3) for pieces in found)


async def test_a_completion_bound_to_a_schema_is_finished_before_an_exchange() -> None:
    async with opened() as (core, model):
        made = request(most=30, schema="{}")
        running = asyncio.create_task(written(core, made))
        await until(lambda: len(made.new) >= 5)
        await core.exchange(weights(NEW, 2), [], no_probe)
        pieces = await running
    assert {piece.version for piece in pieces} == {1}
    assert len(model.legs) == 1


async def test_while_an_exchange_waits_for_a_schemas_completion_all_others_are_written() -> None:
    async with opened(pause=0.005) as (core, model):
        bound = request(most=200, schema="{}")
        running = asyncio.create_task(written(core, bound))
        await until(lambda: bound.new)
        exchange = asyncio.create_task(core.exchange(weights(NEW, 2), [], no_probe))
        await until(lambda: not core._gate._open_to_bound.is_set())
        later = asyncio.create_task(written(core, request(most=3, schema="{}")))
        assert {piece.version for piece in await written(core, request(most=3))} == {1}
        assert await core.score([[1, 2]]) == ([[1.0]], 1)
        assert not exchange.done()
        # The control: what is bound as well begins behind the exchange.
        assert not any(prompt[2:] for _, prompt, _ in model.legs)
        assert {piece.version for piece in await later} == {2}
        assert {piece.version for piece in await running} == {1}
        await exchange


@pytest.mark.parametrize(("rows", "most"), [(6, 3), (1, 1)])
async def test_scores_leave_half_of_the_rows_to_completions(rows, most) -> None:
    async with opened(rows=rows, pause=0.005) as (core, model):
        calls = [core.score([[1, 2]] * 7), core.score([[1, 2]] * 7)]
        assert await asyncio.gather(*calls) == [([[1.0]] * 7, 1)] * 2
    assert model.scoring == [0, most]


async def test_a_probe_sees_the_new_weights_before_anybody_else() -> None:
    seen: list[list[list[float]]] = []

    def refuse(scores: list[list[float]]) -> float:
        seen.append(scores)
        raise make(ConflictError, "PROBE_FAILED", "off")

    async with opened() as (core, model):
        made = request(most=60)
        running = asyncio.create_task(written(core, made))
        await until(lambda: len(made.new) >= 5)
        with pytest.raises(ConflictError):
            await core.exchange(weights(NEW, 2), [[1, 2, 3]], refuse)
        pieces = await running
        assert core.version == 1
        assert (await core.score([[1, 2]])) == ([[1.0]], 1)
        assert model.now.taken == [(NEW, 2), (BASE, 1)]
    assert seen == [[[2.0, 2.0]]]
    assert {each for piece in pieces for each in piece.ids} == {1}


async def test_scores_that_an_exchange_interrupts_are_made_again() -> None:
    async with opened(pause=0.05) as (core, _):
        scoring = asyncio.create_task(core.score([[1, 2]]))
        await until(lambda: core._gate.legs)
        await core.exchange(weights(NEW, 2), [], no_probe)
        assert await scoring == ([[2.0]], 2)


async def test_a_pass_that_fails_ends_its_completion_and_nothing_else() -> None:
    async with opened() as (core, model):
        model.fails = True
        with pytest.raises(InternalError) as caught:
            await written(core, request())
        assert caught.value.reason == "GENERATION_FAILED"
        model.fails = False
        assert (await written(core, request()))[-1].reason


@pytest.mark.parametrize("logprob", [math.nan, math.inf, -math.inf])
async def test_a_logprob_that_is_not_finite_fails_its_completion_and_frees_the_row(logprob) -> None:
    async with opened() as (core, model):
        made = request(most=10_000)
        running = asyncio.create_task(written(core, made))
        await until(lambda: len(made.new) >= 3)
        model.logprob = logprob
        with pytest.raises(InternalError, match="must be finite") as caught:
            await running
        assert caught.value.reason == "GENERATION_FAILED"
        await until(lambda: model.open_legs == 0 and core.count == 0)
        # The control: one that is finite, unlikely as it may be.
        model.logprob = -1e30
        assert (await written(core, request()))[-1].reason == pb.FINISH_REASON_LENGTH


async def test_vllm_that_dies_fails_at_once_and_comes_back_under_its_weights() -> None:
    async with opened() as (core, model):
        await core.exchange(weights(NEW, 5), [], no_probe)
        made = request(most=10_000)
        running = asyncio.create_task(written(core, made))
        await until(lambda: len(made.new) >= 3)
        model.may_start.clear()
        model.now.dead = True
        with pytest.raises(UnavailableError) as caught:
            await running
        assert caught.value.reason == "ENGINE_DIED"
        await until(lambda: core.down is not None)
        begin = time.monotonic()
        for refused in (
            written(core, request()),
            core.score([[1, 2]]),
            core.exchange(weights(NEWER, 6), [], no_probe),
        ):
            with pytest.raises(UnavailableError):
                await refused
        assert time.monotonic() - begin < 5
        model.may_start.set()
        await until(lambda: core.down is None)
        assert model.starts == 2
        assert model.now.taken == [(NEW, 5)]
        assert {piece.version for piece in await written(core, request())} == {5}
        assert await core.score([[1, 2]]) == ([[2.0]], 5)


async def test_what_waits_for_an_exchange_fails_with_it_when_vllm_dies() -> None:
    async with opened(pause=0.05) as (core, model):
        exchange = asyncio.create_task(core.exchange(weights(NEW, 2), [], no_probe))
        await until(lambda: not core._gate._open.is_set())
        late: list[Any] = [written(core, request()), core.score([[1, 2]])]
        waiting = [asyncio.create_task(each) for each in late]
        await until(lambda: core.count == 1)
        model.may_start.clear()
        model.now.dead = True
        for each in (exchange, *waiting):
            with pytest.raises(UnavailableError):
                await asyncio.wait_for(each, 20)
        model.may_start.set()
        await until(lambda: core.down is None and core._gate._open.is_set())
        assert core.version == 1


async def test_vllm_that_does_not_start_is_started_until_it_does() -> None:
    async with opened() as (core, model):
        start, left = core._start, [3]

        def failing() -> Any:
            left[0] -= 1
            if left[0] >= 0:
                raise make(UnsupportedError, "MODEL_NOT_LOADED", "no memory")
            return start()

        core._start = failing
        model.now.dead = True
        await until(lambda: left[0] == -1 and core.down is None)
        assert (await written(core, request()))[-1].reason


@pytest.mark.parametrize("how", ["missing", "changed"])
async def test_weights_that_are_gone_are_waited_for_and_never_replaced_by_others(how) -> None:
    async with opened() as (core, model):
        await core.exchange(weights(NEW, 2), [], no_probe)
        model.missing |= {NEW} if how == "missing" else set()
        model.changed |= {NEW: "others"} if how == "changed" else {}
        model.now.dead = True
        await until(lambda: core.bare)
        with pytest.raises(UnavailableError, match="version 2") as caught:
            await written(core, request())
        assert caught.value.reason == "WEIGHTS_GONE"
        assert model.now.taken == []
        await core.exchange(weights(NEWER, 3), [], no_probe)
        assert {piece.version for piece in await written(core, request())} == {3}


async def test_weights_that_are_gone_come_back_under_their_number_if_they_are_the_same() -> None:
    async with opened() as (core, model):
        await core.exchange(weights(NEW, 2), [], no_probe)
        model.missing.add(NEW)
        model.now.dead = True
        await until(lambda: core.bare)
        with pytest.raises(ConflictError) as caught:
            await core.exchange(weights(NEWER, 2), [], no_probe)
        assert caught.value.reason == "WEIGHTS_DIFFER"
        assert core.bare
        await core.exchange(weights(NEWER, 2, like=NEW), [], no_probe)
        assert {piece.version for piece in await written(core, request())} == {2}


async def test_a_model_that_changed_on_disk_is_not_started_again_until_it_is_what_it_was() -> None:
    async with opened() as (core, model):
        model.changed[BASE] = "others"
        model.now.dead = True
        await until(lambda: "are not those any more" in str(core.down))
        with pytest.raises(UnavailableError) as caught:
            await written(core, request())
        assert caught.value.reason == "WEIGHTS_GONE"
        assert model.starts == 1
        model.changed.clear()
        await until(lambda: core.down is None)
        assert {piece.version for piece in await written(core, request())} == {1}


@pytest.mark.parametrize("how", ["missing", "changed"])
async def test_a_model_whose_folder_is_gone_takes_newer_weights_all_the_same(how) -> None:
    async with opened(empty=True) as (core, model):
        model.missing |= {BASE} if how == "missing" else set()
        model.changed |= {BASE: "others"} if how == "changed" else {}
        model.now.dead = True
        await until(lambda: core.bare)
        with pytest.raises(UnavailableError, match="version 1") as caught:
            await written(core, request())
        assert caught.value.reason == "WEIGHTS_GONE"
        with pytest.raises(ConflictError):
            await core.exchange(weights(NEWER, 1), [], no_probe)
        await core.exchange(weights(NEW, 2), [], no_probe)
        assert {piece.version for piece in await written(core, request())} == {2}
        # Its own folder is not needed any more.
        model.now.dead = True
        await until(lambda: model.starts == 3 and core.down is None)
        assert {piece.version for piece in await written(core, request())} == {2}


@pytest.mark.parametrize("served", [BASE, NEW])
async def test_weights_that_are_there_again_are_served_without_a_word(served) -> None:
    async with opened(empty=True) as (core, model):
        if served is NEW:
            await core.exchange(weights(NEW, 2), [], no_probe)
        model.missing.add(served)
        model.now.dead = True
        await until(lambda: core.bare)
        model.missing.clear()
        await until(lambda: core.down is None)
        assert model.starts == 2
        assert {piece.version for piece in await written(core, request())} == {core.version}


async def test_a_number_that_is_served_stands_for_no_other_weights() -> None:
    async with opened() as (core, _):
        core.compare(weights(BASE, 1))
        core.compare(weights(NEW, 2))
        with pytest.raises(ConflictError) as caught:
            core.compare(weights(NEW, 1))
        assert caught.value.reason == "WEIGHTS_DIFFER"


async def test_every_caller_has_an_error_of_its_own() -> None:
    async with opened() as (core, model):
        made = [request(most=10_000) for _ in range(2)]
        running = [asyncio.create_task(written(core, each)) for each in made]
        await until(lambda: all(each.new for each in made))
        model.may_start.clear()
        model.now.dead = True
        failed = await asyncio.gather(*running, return_exceptions=True)
        await until(lambda: core.down is not None)
        late = [written(core, request()), core.score([[1, 2]]), written(core, request())]
        failed += await asyncio.gather(*late, return_exceptions=True)
    assert {error.reason for error in failed} == {"ENGINE_DIED"}  # pyright: ignore[reportAttributeAccessIssue]
    assert len({id(error) for error in failed}) == 5


async def test_what_is_not_ready_once_it_has_started_is_told_and_leaves_no_process() -> None:
    model: Any = Model(unready=make(UnsupportedError, "ADAPTER_NOT_LOADED", "no such layer"))
    model.may_start.set()
    with pytest.raises(UnsupportedError, match="no such layer"):
        await asyncio.to_thread(Core, model.start, weights(BASE, 1))
    assert model.now.dead


@pytest.mark.parametrize("version", [1, 2])
async def test_after_a_probe_that_failed_old_weights_that_have_changed_are_not_served(version) -> None:
    def refuse(_scores: list[list[float]]) -> float:
        raise make(ConflictError, "PROBE_FAILED", "off")

    async with opened(pause=0.01) as (core, model):
        old = NEW if version == 2 else BASE
        if version == 2:
            await core.exchange(weights(NEW, 2), [], no_probe)
        model.changed[old] = "others"
        made = request(most=10_000)
        running = asyncio.create_task(written(core, made))
        await until(lambda: made.new)
        with pytest.raises(ConflictError):
            await core.exchange(weights(NEWER, 3), [[1, 2]], refuse)
        with pytest.raises(UnavailableError) as caught:
            await asyncio.wait_for(running, 20)
        assert caught.value.reason == "WEIGHTS_GONE"
        assert SAYS[NEWER] not in made.new
        assert model.now.taken[-1] == (NEWER, 3)
        model.changed.clear()
        await core.exchange(weights(old, version), [], no_probe)
        assert {piece.version for piece in await written(core, request())} == {version}


async def test_of_weights_that_were_taken_in_part_nothing_is_left() -> None:
    async with opened() as (core, model):
        await core.exchange(weights(NEW, 2), [], no_probe)
        model.torn.add(NEWER)
        first = model.now
        with pytest.raises(InternalError, match="a tensor is missing") as caught:
            await core.exchange(weights(NEWER, 3), [], no_probe)
        assert caught.value.reason == "LOAD_FAILED"
        assert first.dead
        assert first.taken == [(NEW, 2)]
        await until(lambda: model.starts == 2 and core.down is None)
        assert {piece.version for piece in await written(core, request())} == {2}


async def test_a_new_start_that_fails_says_why_to_whoever_asks() -> None:
    async with opened() as (core, model):
        start, broken = core._start, [True]

        def failing() -> Any:
            if broken[0]:
                raise make(UnsupportedError, "MODEL_NOT_LOADED", "no memory for the cache")
            return start()

        core._start = failing
        model.now.dead = True
        await until(lambda: "no memory for the cache" in str(core.down))
        with pytest.raises(UnavailableError, match="no memory for the cache"):
            await written(core, request())
        broken[0] = False
        await until(lambda: core.down is None)


async def test_tokens_count_as_cached_if_no_leg_had_to_read_them() -> None:
    made = request()
    made.begins(3)
    # The prompt has two; what was written since is none of it.
    assert made.cached == 2
    made.begins(0)
    assert made.cached == 0
    made.begins(2)
    assert made.cached == 0


async def test_closing_ends_what_is_in_work() -> None:
    async with opened() as (core, model):
        made = request(most=10_000)
        running = asyncio.create_task(written(core, made))
        await until(lambda: model.open_legs == 1)
    with pytest.raises(UnavailableError, match="closing"):
        await running
    with pytest.raises(UnavailableError, match="closing"):
        core.submit(request(), 10)
    assert model.now.dead


async def test_closing_while_vllm_is_started_again_leaves_no_process() -> None:
    async with opened() as (core, model):
        model.may_start.clear()
        model.now.dead = True
        await until(lambda: core.down is not None and core._starting and not core._starting.done())
        closing = asyncio.create_task(asyncio.to_thread(core.close))
        await until(lambda: core._closed is not None)
        model.may_start.set()
        await asyncio.wait_for(closing, 20)
    assert model.starts == 2
    assert all(each.dead for each in model.running)


async def test_closing_while_weights_are_taken_again_leaves_no_process() -> None:
    async with opened() as (core, model):
        await core.exchange(weights(NEW, 2), [], no_probe)
        model.pause = 0.5
        model.now.dead = True
        await until(lambda: model.starts == 2)
    assert all(each.dead for each in model.running)


async def test_closing_in_the_middle_of_an_exchange_answers_everybody() -> None:
    async with opened(pause=30) as (core, model):
        exchange = asyncio.create_task(core.exchange(weights(NEW, 2), [], no_probe))
        await until(lambda: not core._gate._open.is_set())
        second = asyncio.create_task(core.exchange(weights(NEWER, 3), [], no_probe))
        late: list[Any] = [written(core, request()), core.score([[1, 2]])]
        waiting = [asyncio.create_task(each) for each in late]
        await until(lambda: core.count == 1)
        await asyncio.wait_for(asyncio.to_thread(core.close), 20)
        for each in (exchange, second, *waiting):
            with pytest.raises(UnavailableError, match="closing"):
                await asyncio.wait_for(each, 20)
        with pytest.raises(UnavailableError, match="closing"):
            await core.exchange(weights(NEW, 2), [], no_probe)
    assert model.now.dead


async def test_who_goes_away_from_an_exchange_leaves_the_weights_as_they_were() -> None:
    async with opened(pause=0.05) as (core, model):
        exchange = asyncio.create_task(core.exchange(weights(NEW, 2), [], no_probe))
        await until(lambda: not core._gate._open.is_set())
        exchange.cancel()
        with pytest.raises(asyncio.CancelledError):
            await exchange
        await until(lambda: model.starts == 2 and core.down is None)
        assert await core.score([[1, 2]]) == ([[1.0]], 1)


def test_a_model_that_does_not_start_is_told_and_leaves_no_thread() -> None:
    def start() -> Any:
        raise make(UnsupportedError, "MODEL_NOT_LOADED", "no such model")

    def threads() -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread.name == "policy-vllm"]

    # Other tests may share a core that runs.
    before = threads()
    with pytest.raises(UnsupportedError):
        Core(start, weights(BASE, 1))
    assert threads() == before


async def test_processes_that_do_not_end_in_good_order_are_followed_by_new_ones(monkeypatch) -> None:
    def stop(self: Stand) -> None:
        self.dead = True
        raise RuntimeError("cannot join")

    async with opened() as (core, model):
        monkeypatch.setattr(Stand, "stop", stop)
        model.now.dead = True
        await until(lambda: model.starts == 2 and core.down is None)


async def test_closing_in_a_probe_takes_no_old_weights_again(monkeypatch) -> None:
    async def score(self: Stand, sequence: list[int], name: str) -> list[float]:
        await asyncio.Event().wait()
        return []

    async with opened() as (core, model):
        monkeypatch.setattr(Stand, "score", score)
        loading = asyncio.create_task(core.exchange(weights(NEW, 2), [[1, 2]], no_probe))
        await until(lambda: model.now.taken)
        await asyncio.to_thread(core.close)
        with pytest.raises(UnavailableError):
            await loading
        assert model.now.taken == [(NEW, 2)]
