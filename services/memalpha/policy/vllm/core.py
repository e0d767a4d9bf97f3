"""The thread that owns vLLM: it hands completions over, exchanges weights, and starts vLLM again if it dies.

The thread has an event loop of its own, on which everything here runs but what is said to be the caller's.
Work goes through a gate, leg by leg. It is shut while weights are exchanged: legs in work are cut off, and go
on behind it, so that a leg is of one version of the weights and a probe is alone with the new ones. It is
shut as well while vLLM is down: whatever is in work or comes then fails with `UnavailableError`, at once.
However much is to be scored, it has at most half of vLLM's rows, or the only one; probes wait for none of it.

A number of weights stands for the same weights forever. What is loaded again, after a new start or after a
probe that failed, is compared with what was served before; and of weights that were taken in part nothing is
left, as vLLM is started again. Files that are touched while they are loaded count as taken in part. Where the
model's own folder is gone, or does not start again and again, vLLM is started without weights, and waits for
those that it had, or for newer ones.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import aclosing
from typing import Any, TypeGuard, TypeVar

from memalpha.errors import (
    BusyError,
    InternalError,
    MemalphaError,
    UnavailableError,
    make,
)
from memalpha.policy.marks import Stamps, check_same
from memalpha.policy.vllm.gate import Gate, settled
from memalpha.policy.vllm.process import Process, ProcessDied
from memalpha.policy.vllm.request import Request
from memalpha.policy.vllm.scores import Scores
from memalpha.policy.vllm.weights import Lookout, Weights, shown
from memalpha.telemetry import get_logger

_log = get_logger(__name__)
_LOOK_SECONDS = 0.2
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0
# Starts and loads in a row that may fail before something else is tried.
_TRIES = 3
T = TypeVar("T")
E = TypeVar("E", bound=MemalphaError)

Probe = Callable[[list[list[float]]], float]
"""Compares the scores of a probe's sequences: returns how far off they are, or raises."""


class Core:
    """vLLM under one model, for as long as it is open. Methods are called from any thread."""

    def __init__(
        self,
        start: Callable[[], Process],
        base: Weights,
        lookout: Lookout | None = None,
        start_empty: Callable[[], Process] | None = None,
        *,
        rows: int = 2,
    ) -> None:
        """Starts the thread and vLLM.

        Args:
            start: starts vLLM on the model; called again whenever it has died.
            base: the model's own weights.
            lookout: looks at weights before they are loaded again.
            start_empty: starts vLLM without weights, where the base is gone; None: nothing else is loaded.
            rows: sequences that vLLM works on at once.

        Raises:
            MemalphaError: What `start` raised.
        """
        self._start = start
        self._start_empty = start_empty
        # In a row.
        self._failed_starts = self._failed_loads = 0
        self._lookout = lookout or Lookout()
        self._base = self._weights = base
        self._process: Process | None = None
        self._starting: asyncio.Task[Process] | None = None
        self._down: MemalphaError | None = None
        self._closed: MemalphaError | None = None
        self._lock = threading.Lock()
        self._requests: dict[Request, asyncio.Task[None] | None] = {}
        self._calls: set[asyncio.Task[Any]] = set()
        self._names = 0
        self._loop = asyncio.new_event_loop()
        self._gate = Gate(self._check_up)
        self._loading = asyncio.Lock()
        self._scoring = asyncio.Semaphore(max(1, rows // 2))
        self._thread = threading.Thread(target=self._loop.run_forever, name="policy-vllm", daemon=True)
        self._thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self._begin(), self._loop).result()
        except BaseException:
            self._end_thread()
            raise

    @property
    def down(self) -> MemalphaError | None:
        """Why nothing is served at the moment."""
        return self._closed or self._down

    @property
    def bare(self) -> bool:
        """Whether vLLM runs without the weights that were served, and waits for these or newer ones."""
        return self._process is not None and self._down is not None

    @property
    def version(self) -> int:
        """Of the weights."""
        return self._weights.version

    @property
    def count(self) -> int:
        """Completions that are in work or wait."""
        return len(self._requests)

    def submit(self, request: Request, most: int) -> None:
        """Has a completion written, unless `most` others are.

        Raises:
            BusyError: POLICY_OVERLOADED.
            UnavailableError: POLICY_CLOSED, ENGINE_DIED or WEIGHTS_GONE.
        """
        with self._lock:
            self._check_up()
            if len(self._requests) >= most:
                message = f"completions in work and in line: at most {most}; try again"
                raise make(BusyError, "POLICY_OVERLOADED", message, limit=most)
            self._requests[request] = None
        request.on_cancel = lambda: self._soon(self._cancel, request)
        self._soon(self._take_in, request)

    async def score(self, sequences: list[list[int]]) -> tuple[list[list[float]], int]:
        """Logprobs of each token but the first, and the version that gave them all.

        Raises:
            UnavailableError: As `submit`; SCORES_INTERRUPTED: weights are exchanged faster.
        """
        return await asyncio.wrap_future(self._call(lambda: self._score(sequences, self._scoring)))

    async def probe(self, sequences: list[list[int]]) -> list[list[float]]:
        """As `score`, without waiting for what others have scored."""
        # One at a time, as in an exchange.
        own = asyncio.Semaphore(1)
        return (await asyncio.wrap_future(self._call(lambda: self._score(sequences, own))))[0]

    async def exchange(
        self, weights: Weights, sequences: list[list[int]], probe: Probe
    ) -> tuple[float, float]:
        """Serves weights, which were checked, unless the probe raises.

        Returns:
            Seconds that nothing was generated, and what the probe returned.

        Raises:
            UnavailableError: vLLM is down; the weights are as they were.
            MemalphaError: What the probe raised; likewise.
            ConflictError: WEIGHTS_DIFFER: the number is that of other weights.
            InternalError: LOAD_FAILED: they were touched since they were checked; or vLLM could not take
                them whole, and is started again under the weights that it had.
        """
        return await asyncio.wrap_future(self._call(lambda: self._exchange(weights, sequences, probe)))

    def compare(self, weights: Weights) -> None:
        """Refuses other weights under the number that is served.

        Raises:
            ConflictError: WEIGHTS_DIFFER.
        """
        if weights.version == self.version:
            check_same(weights.folder, weights.version, weights.mark, self._weights.mark)

    def close(self) -> None:
        """Ends what is in work, vLLM and the thread; a start that is under way is waited for. Once."""
        with self._lock:
            if self._closed is not None:
                return
            self._closed = make(UnavailableError, "POLICY_CLOSED", "the policy is closing")
            ended = asyncio.run_coroutine_threadsafe(self._end(), self._loop)
        ended.result()
        self._end_thread()

    def _call(self, work: Callable[[], Coroutine[Any, Any, T]]) -> Future[T]:
        """Does a caller's work on the thread."""
        with self._lock:
            if self._closed is not None:
                raise _again(self._closed)
            return asyncio.run_coroutine_threadsafe(self._called(work()), self._loop)

    def _check_up(self) -> None:
        # Asked once: it may be up again a moment later.
        down = self.down
        if down is not None:
            raise _again(down)

    # The rest runs on the thread.

    async def _begin(self) -> None:
        self._process = await self._launched(self._start, self._base.stamps)
        self._open()
        self._watching = asyncio.create_task(self._watch())

    async def _launched(self, start: Callable[[], Process], seen: Stamps | None) -> Process:
        """Starts vLLM; whoever waits may be cut off, the start goes on and is not forgotten.

        Args:
            start: how.
            seen: the base's files when they were checked; None: it is started without them.
        """
        self._starting = asyncio.create_task(self._started(start, seen))
        return await asyncio.shield(self._starting)

    async def _started(self, start: Callable[[], Process], seen: Stamps | None) -> Process:
        process = await asyncio.to_thread(start)
        try:
            await process.ready()
            if seen is not None:
                await asyncio.to_thread(self._lookout.check, self._base, seen)
        except BaseException:
            await _stopped(process)
            raise
        return process

    async def _end(self) -> None:
        for call in (self._watching, *self._calls):
            call.cancel()
        self._fail_all()
        await settled({self._watching, *self._calls, *self._gate.legs})
        assert self._starting is not None
        await settled({self._starting})
        if self._starting.exception() is None:
            await _stopped(self._starting.result())

    async def _called(self, work: Coroutine[Any, Any, T]) -> T:
        """A caller's work, which the end cuts off."""
        call = asyncio.current_task()
        assert call is not None
        self._calls.add(call)
        try:
            return await work
        except asyncio.CancelledError:
            if self._closed is None:
                raise
            raise _again(self._closed) from None
        finally:
            self._calls.discard(call)

    def _take_in(self, request: Request) -> None:
        if request in self._requests:
            task = self._requests[request] = asyncio.create_task(self._work_off(request))
            task.add_done_callback(lambda _: self._requests.pop(request, None))

    def _cancel(self, request: Request) -> None:
        task = self._requests.pop(request, None)
        if task is not None:
            task.cancel()

    async def _work_off(self, request: Request) -> None:
        """Writes a completion, leg by leg; what goes wrong is the request's to tell."""
        try:
            while not request.ended and not request.cancelled:
                await self._gate.through(lambda: self._leg(request), bound=bool(request.schema))
        except ProcessDied:
            request.fail(self._died())
        except MemalphaError as error:
            request.fail(error)
        except Exception as error:  # noqa: BLE001 - the thread outlives whatever vLLM raises
            _log.error("generation failed", exc_info=error)
            message = f"the model failed: {type(error).__name__}; the service's log tells more"
            request.fail(make(InternalError, "GENERATION_FAILED", message))

    async def _leg(self, request: Request) -> None:
        version, begun = self.version, False
        async with aclosing(self._running.complete(request, self._name())) as steps:
            async for step in steps:
                if not begun:
                    request.begins(step.cached)
                    begun = True
                for token, logprob in zip(step.tokens, step.logprobs, strict=True):
                    request.add(token, logprob, version)
                    if request.ended:
                        return
        raise make(InternalError, "GENERATION_FAILED", "the model ended a completion that has not ended")

    async def _score(
        self, sequences: list[list[int]], turns: asyncio.Semaphore
    ) -> tuple[list[list[float]], int]:
        made = Scores(sequences, turns)
        try:
            while not made.whole:
                await self._gate.through(
                    lambda: made.go_on(self._running, self.version, self._name), bound=False
                )
        except ProcessDied:
            raise self._died() from None
        return made.in_order, made.version

    async def _exchange(
        self, weights: Weights, sequences: list[list[int]], probe: Probe
    ) -> tuple[float, float]:
        async with self._loading:
            self.compare(weights)
            process = self._running
            try:
                # Until they have ended, all others go on.
                await self._gate.shut_to_bound()
                await asyncio.to_thread(self._lookout.check, weights, weights.stamps)
                begin = time.monotonic()
                await self._gate.shut()
                error = await self._taken(process, weights, sequences, probe)
                if process.dead:
                    raise ProcessDied
                self._weights, self._down, self._failed_loads = weights, None, 0
                self._lookout.forget(weights)
                return time.monotonic() - begin, error
            except ProcessDied:
                raise self._died() from None
            finally:
                self._open()

    def _open(self) -> None:
        """Lets those at the gate through, or has them learn why they are not."""
        if self._process is None or self._down is not None:
            self._gate.turn_away()
        else:
            self._gate.open()

    async def _taken(
        self, process: Process, weights: Weights, sequences: list[list[int]], probe: Probe
    ) -> float:
        """Has vLLM take weights, and the old ones again if the new ones are not what they should be."""
        await self._take(process, weights, weights.stamps)
        try:
            return probe([await process.score(each, self._name()) for each in sequences])
        except BaseException:
            if self._closed is None:
                await self._undo(process)
            raise

    async def _take(self, process: Process, weights: Weights, seen: Stamps) -> None:
        """Has vLLM take weights, whole and as they were seen; else it is stopped and started again."""
        try:
            await asyncio.to_thread(self._lookout.check, weights, seen)
            await process.take(weights.folder, weights.version)
            await asyncio.to_thread(self._lookout.check, weights, seen)
        except BaseException as error:
            died = process.dead or isinstance(error, ProcessDied)
            await _stopped(process)
            if not isinstance(error, Exception):
                raise
            if died:
                raise ProcessDied from error
            _log.error("weights were not loaded", path=str(weights.folder), exc_info=error)
            message = (
                f"weights of version {weights.version} in {weights.folder} were not loaded, and the model is"
                f" started again: {shown(error)}"
            )
            raise make(InternalError, "LOAD_FAILED", message, policy_version=weights.version) from error

    async def _undo(self, process: Process) -> None:
        """Has vLLM take the weights that were served before; if they are gone, none are served."""
        try:
            gone = await self._take_again(process, self._weights)
        except (ProcessDied, MemalphaError):
            # The watch begins anew; what is told is why there was something to undo.
            return
        if self._process is process:
            self._down = gone

    async def _take_again(self, process: Process, weights: Weights) -> MemalphaError | None:
        """Has vLLM take weights that were served before; returns why not, if they are gone."""
        try:
            seen = await asyncio.to_thread(self._lookout.look, weights)
        except UnavailableError as gone:
            return gone
        try:
            await self._take(process, weights, seen)
        except (ProcessDied, MemalphaError) as error:
            self._failed_loads += 1
            if self._failed_loads > _TRIES:
                # Once they are tried again, a single failure is enough.
                self._failed_loads = _TRIES
                self._lookout.give_up(weights, seen, error.__cause__ or error)
            raise
        self._failed_loads = 0
        return None

    async def _watch(self) -> None:
        pause = due = 0.0
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            if self._process is not None and self._process.dead:
                await self._revive(self._process)
            if not self.bare:
                pause = 0.0
            elif self._loop.time() >= due:
                await self._return()
                pause = min(max(2 * pause, _FIRST_PAUSE), _LONGEST_PAUSE)
                due = self._loop.time() + pause

    async def _return(self) -> None:
        """Serves weights again that were gone, if they are back."""
        async with self._loading:
            if self._process is None or self._down is None:
                return
            try:
                self._down = await self._take_again(self._process, self._weights)
            except (ProcessDied, MemalphaError):
                return  # the watch begins anew
            self._open()

    async def _revive(self, dead: Process) -> None:
        _log.error("vllm died; it is started again", policy_version=self.version)
        self._process, self._down = None, self._died()
        self._fail_all()
        self._open()
        await _stopped(dead)
        pause = _FIRST_PAUSE
        while not await self._revived():
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _revived(self) -> bool:
        """Whether vLLM runs again, under the weights that it had or under none."""
        try:
            start, seen = await asyncio.to_thread(self._way)
            process = await self._launched(start, seen)
        except Exception as error:  # noqa: BLE001 - whatever the reason, it is tried again
            if _is_gone(error):
                self._down = error
                return False
            _log.error("vllm cannot be started", exc_info=error)
            self._failed_starts += 1
            self._down = self._died(error)
            return False
        async with self._loading:
            return await self._reloaded(process, empty=seen is None)

    def _way(self) -> tuple[Callable[[], Process], Stamps | None]:
        """How to start again, as `_launched` takes it: on the base, or without if that is gone or fails."""
        empty = self._start_empty
        # By turns, as what keeps the base from starting may pass.
        if empty is not None and self._failed_starts >= _TRIES and self._failed_starts % 2:
            return empty, None
        try:
            return self._start, self._lookout.look(self._base)
        except UnavailableError:
            if empty is None:
                raise
            return empty, None

    async def _reloaded(self, process: Process, *, empty: bool) -> bool:
        gone = None
        if empty or self._weights != self._base:
            try:
                gone = await self._take_again(process, self._weights)
            except (ProcessDied, MemalphaError) as error:
                self._down = self._died(error)
                return False
        self._process, self._down, self._failed_starts = process, gone, 0
        self._open()
        _log.info("vllm runs again", policy_version=self.version, serves=gone is None)
        return True

    @property
    def _running(self) -> Process:
        if self._process is None:
            raise self._died()
        return self._process

    def _died(self, cause: Exception | None = None) -> MemalphaError:
        message = "the model's process has died and is started again; try again in a minute"
        told = f"; the last try: {shown(cause)}" if cause else ""
        return make(UnavailableError, "ENGINE_DIED", message + told)

    def _fail_all(self) -> None:
        for request, task in list(self._requests.items()):
            request.fail(_again(self.down or self._died()))
            if task is not None:
                task.cancel()

    def _name(self) -> str:
        self._names += 1
        return str(self._names)

    def _soon(self, function: Callable[[Request], None], request: Request) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, request)

    def _end_thread(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _stopped(process: Process) -> None:
    """Stops vLLM; a process that does not end in good order keeps nothing else from going on."""
    try:
        await asyncio.to_thread(process.stop)
    except Exception as error:  # noqa: BLE001 - there is nothing else to do for it
        _log.error("vllm was not stopped in good order", exc_info=error)


def _again(error: E) -> E:
    """An error for one more caller: raised, it collects a traceback and notes of that caller's."""
    return make(type(error), error.reason, str(error), **error.metadata)


def _is_gone(error: Exception) -> TypeGuard[MemalphaError]:
    return isinstance(error, MemalphaError) and error.reason == "WEIGHTS_GONE"
