"""The thread that owns vLLM: it hands completions over, exchanges weights, and starts vLLM again if it dies.

The thread has an event loop of its own, on which everything here runs but what is said to be the caller's.
Work goes through a gate. The gate is shut while weights are exchanged: legs in work are cut off, and go on
behind the gate, so that a leg is of one version of the weights and a probe is alone with the new ones. It is
also shut while vLLM is down: whatever is in work or comes then fails with `UnavailableError`, at once.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import aclosing
from pathlib import Path
from typing import Any, TypeVar

from memalpha.errors import BusyError, InternalError, MemalphaError, UnavailableError, make
from memalpha.policy.vllm.process import Process, ProcessDied
from memalpha.policy.vllm.request import Request
from memalpha.telemetry import get_logger

_log = get_logger(__name__)
_LOOK_SECONDS = 0.2
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0
T = TypeVar("T")

Probe = Callable[[list[list[float]]], float]
"""Compares the scores of a probe's sequences: returns how far off they are, or raises."""


class Core:
    """vLLM under one model, for as long as it is open. Methods are called from any thread."""

    def __init__(self, start: Callable[[], Process], folder: Path, version: int) -> None:
        """Starts the thread and vLLM.

        Args:
            start: starts vLLM on the model; called again whenever it has died.
            folder: of the model.
            version: of its weights.

        Raises:
            MemalphaError: What `start` raised.
        """
        self._start = start
        self._base = self._weights = folder
        self._version = version
        self._process: Process | None = None
        self._down: MemalphaError | None = None
        self._lock = threading.Lock()
        self._requests: dict[Request, asyncio.Task[None] | None] = {}
        self._legs: set[asyncio.Task[Any]] = set()
        self._bound: set[asyncio.Task[Any]] = set()
        self._names = 0
        self._loop = asyncio.new_event_loop()
        self._gate = asyncio.Event()
        self._loading = asyncio.Lock()
        self._thread = threading.Thread(target=self._loop.run_forever, name="policy-vllm", daemon=True)
        self._thread.start()
        try:
            self._on_loop(self._begin()).result()
        except BaseException:
            self._end_thread()
            raise

    @property
    def down(self) -> MemalphaError | None:
        """Why nothing is served at the moment."""
        return self._down

    @property
    def version(self) -> int:
        """Of the weights."""
        return self._version

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
            if self._down is not None:
                raise self._down.with_traceback(None)
            if len(self._requests) >= most:
                message = f"completions in work and in line: at most {most}; try again"
                raise make(BusyError, "POLICY_OVERLOADED", message, limit=most)
            self._requests[request] = None
        request.on_cancel = lambda: self._soon(self._cancel, request)
        self._soon(self._take_in, request)

    async def score(self, sequences: list[list[int]]) -> tuple[list[list[float]], int]:
        """Logprobs of each token but the first, and the version that gave them.

        Raises:
            UnavailableError: As `submit`.
        """
        return await asyncio.wrap_future(self._on_loop(self._score(sequences)))

    async def exchange(
        self, folder: Path, version: int, sequences: list[list[int]], probe: Probe
    ) -> tuple[float, float]:
        """Serves a folder's weights, which were checked, under a number, unless the probe raises.

        Returns:
            Seconds that nothing was generated, and what the probe returned.

        Raises:
            UnavailableError: vLLM is down; the weights are as they were.
            MemalphaError: What the probe raised; likewise.
        """
        return await asyncio.wrap_future(self._on_loop(self._exchange(folder, version, sequences, probe)))

    def close(self) -> None:
        """Ends what is in work, vLLM and the thread."""
        with self._lock:
            self._down = make(UnavailableError, "POLICY_CLOSED", "the policy is closing")
        self._on_loop(self._end()).result()
        self._end_thread()

    # The rest runs on the thread.

    async def _begin(self) -> None:
        self._process = await asyncio.to_thread(self._start)
        self._gate.set()
        self._watching = asyncio.create_task(self._watch())

    async def _end(self) -> None:
        self._watching.cancel()
        self._fail_all()
        await asyncio.gather(*self._legs, return_exceptions=True)
        if self._process is not None:
            await asyncio.to_thread(self._process.stop)

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
                await self._through_gate(lambda: self._leg(request), bound=bool(request.schema))
        except ProcessDied:
            request.fail(self._died())
        except MemalphaError as error:
            request.fail(error)
        except Exception as error:  # noqa: BLE001 - the thread outlives whatever vLLM raises
            _log.error("generation failed", exc_info=error)
            message = f"the model failed: {type(error).__name__}; the service's log tells more"
            request.fail(make(InternalError, "GENERATION_FAILED", message))

    async def _leg(self, request: Request) -> None:
        version = self._version
        async with aclosing(self._running.complete(request, self._name())) as steps:
            async for step in steps:
                request.cached = max(request.cached, step.cached)
                for token, logprob in zip(step.tokens, step.logprobs, strict=True):
                    request.add(token, logprob, version)
                    if request.ended:
                        return
        raise make(InternalError, "GENERATION_FAILED", "the model ended a completion that has not ended")

    async def _score(self, sequences: list[list[int]]) -> tuple[list[list[float]], int]:
        while True:
            try:
                found = await self._through_gate(lambda: self._scores(sequences), bound=False)
            except ProcessDied:
                raise self._died() from None
            if found is not None:
                return found

    async def _scores(self, sequences: list[list[int]]) -> tuple[list[list[float]], int]:
        version = self._version
        rows = (self._running.score(sequence, self._name()) for sequence in sequences)
        return list(await asyncio.gather(*rows)), version

    async def _through_gate(self, leg: Callable[[], Coroutine[Any, Any, T]], *, bound: bool) -> T | None:
        """Runs a leg while the gate is open; None if the gate was shut on it.

        Args:
            leg: made when it begins.
            bound: whether it cannot be cut off, as what it is bound to knows no second beginning.
        """
        # An event that was set and cleared since wakes as well.
        while not self._gate.is_set():
            if self._down is not None:
                raise self._down.with_traceback(None)
            await self._gate.wait()
        task = asyncio.create_task(leg())
        kind = self._bound if bound else self._legs
        kind.add(task)
        try:
            await asyncio.wait({task})
            return None if task.cancelled() else task.result()
        finally:
            kind.discard(task)
            task.cancel()

    async def _exchange(
        self, folder: Path, version: int, sequences: list[list[int]], probe: Probe
    ) -> tuple[float, float]:
        async with self._loading:
            process = self._running
            self._gate.clear()
            try:
                await _settled(self._bound)
                begin = time.monotonic()
                error = await self._taken(process, folder, version, sequences, probe)
                if process.dead:
                    raise ProcessDied
                self._weights, self._version, self._down = folder, version, None
                return time.monotonic() - begin, error
            except ProcessDied:
                raise self._died() from None
            finally:
                if self._process is not None and self._down is None:
                    self._gate.set()

    async def _taken(
        self, process: Process, folder: Path, version: int, sequences: list[list[int]], probe: Probe
    ) -> float:
        """Has vLLM take weights, and the old ones again if the new ones are not what they should be."""
        for leg in self._legs:
            leg.cancel()
        await _settled(self._legs)
        try:
            await process.take(folder, version)
            return probe([await process.score(each, self._name()) for each in sequences])
        except BaseException:
            await self._undo(process)
            raise

    async def _undo(self, process: Process) -> None:
        try:
            await process.take(self._weights, self._version)
        except Exception as error:  # noqa: BLE001 - whatever the reason, these weights are not served
            # With the process gone, the watch begins anew.
            _log.error("the old weights cannot be loaded again", path=str(self._weights), exc_info=error)
            await asyncio.to_thread(process.stop)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            if self._process is not None and self._process.dead:
                await self._revive(self._process)

    async def _revive(self, dead: Process) -> None:
        _log.error("vllm died; it is started again", policy_version=self._version)
        self._gate.clear()
        self._process, self._down = None, self._died()
        self._fail_all()
        # Whoever else waits at the gate wakes, finds it shut, and learns why.
        self._gate.set()
        self._gate.clear()
        await asyncio.to_thread(dead.stop)
        pause = _FIRST_PAUSE
        while not await self._revived():
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _revived(self) -> bool:
        """Whether vLLM runs again, under the weights that it had."""
        try:
            process = await asyncio.to_thread(self._start)
        except MemalphaError as error:
            _log.error("vllm cannot be started", exc_info=error)
            return False
        async with self._loading:
            return await self._reloaded(process)

    async def _reloaded(self, process: Process) -> bool:
        try:
            if self._weights != self._base:
                await process.take(self._weights, self._version)
        except ProcessDied:
            return False
        except Exception as error:  # noqa: BLE001 - whatever the reason, these weights are not served
            _log.error("weights cannot be loaded again", path=str(self._weights), exc_info=error)
            rule = "cannot be read any more; newer ones will be served once they are loaded"
            message = f"weights of version {self._version} in {self._weights} {rule}"
            self._process = process
            self._down = make(UnavailableError, "WEIGHTS_GONE", message, policy_version=self._version)
            return True
        self._process, self._down = process, None
        self._gate.set()
        _log.info("vllm serves again", policy_version=self._version)
        return True

    @property
    def _running(self) -> Process:
        if self._process is None:
            raise self._died()
        return self._process

    def _died(self) -> MemalphaError:
        message = "the model's process has died and is started again; try again in a minute"
        return make(UnavailableError, "ENGINE_DIED", message)

    def _fail_all(self) -> None:
        for request, task in list(self._requests.items()):
            request.fail(self._down or self._died())
            if task is not None:
                task.cancel()

    def _name(self) -> str:
        self._names += 1
        return str(self._names)

    def _soon(self, function: Callable[[Request], None], request: Request) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, request)

    def _on_loop(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def _end_thread(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _settled(tasks: set[asyncio.Task[Any]]) -> None:
    if tasks:
        await asyncio.wait(set(tasks))
