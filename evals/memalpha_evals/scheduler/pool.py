"""Runs chains to their ends: no barriers, no idle slot while anything can be done.

Each chain is one task that waits at the gate before each step; each ask is another. A chain gives its last
asks away only as fast as they are answered, `_AHEAD` for each slot, so that the contexts of thousands of
questions are not in memory at once; asks in its midst it gives away at once, for the chain has to go on. A
chain or an ask that is given up is told so and ends; what stops everything is an outage, a cancellation, or
an exception that is no `MemalphaError`: a fault in this program.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from time import perf_counter

from memalpha.errors import BusyError, MemalphaError, UnavailableError
from memalpha_evals.scheduler.gate import Gate, Outcome
from memalpha_evals.scheduler.lag import LoopLag
from memalpha_evals.scheduler.order import Kind
from memalpha_evals.scheduler.retries import Outage, Patience, Tries
from memalpha_evals.scheduler.work import AFFINITY, Ask, Chain

_AHEAD = 2
LAG_WARNING = 0.02
"""Seconds of lag of the event loop, 99th percentile, above which slots are noticeably left empty."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much may be in flight.

    Attributes:
        slots: Calls.
        tokens: Tokens of all calls; None: any number.
    """

    slots: int = 32
    tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What a run of the scheduler did.

    Attributes:
        seconds: From the first to the last call.
        calls: That succeeded.
        retried: That did not, and were made again.
        given_up: Pieces of work.
        utilisation: Share of the slots' time in which a call was in flight.
        cuts: How often `BusyError` halved what is let in.
        lag: Seconds, 99th percentile; see `LoopLag`.
    """

    seconds: float
    calls: int
    retried: int
    given_up: int
    utilisation: float
    cuts: int
    lag: float


@dataclass(frozen=True, slots=True)
class _Wish:
    """A call to be let in, as `Gate.enter` has it, and who answers it."""

    kind: Kind
    endpoint: str
    tokens: int
    remaining: int = 0


class Scheduler:
    """One run. Create it within the event loop that runs it."""

    def __init__(
        self,
        limits: Limits,
        patience: Patience | None = None,
        on_retry: Callable[[], None] = lambda: None,
    ) -> None:
        """Nothing runs until `run`; `on_retry` is called for each call that is made again."""
        self._on_retry = on_retry
        self._limits = limits
        self._patience = patience or Patience()
        self._retried = self._given_up = 0
        self._successes: Counter[str] = Counter()

    async def run(self, chains: Sequence[Chain], asks: Sequence[Ask] = ()) -> Report:
        """Runs chains to their ends, and asks that belong to none.

        Raises:
            Outage: An endpoint answers no call; what was done so far is done.
        """
        outstanding = sum(chain.remaining + chain.questions for chain in chains) + len(asks)
        self._gate = Gate(self._limits.slots, self._limits.tokens, outstanding)
        self._room = asyncio.Semaphore(_AHEAD * self._limits.slots)
        start = perf_counter()
        async with LoopLag() as lag:
            await self._all(chains, asks)
        return self._report(perf_counter() - start, lag)

    async def _all(self, chains: Sequence[Chain], asks: Sequence[Ask]) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for chain in chains:
                    group.create_task(self._chain(chain, group))
                for ask in asks:
                    await self._give(ask, group, self._room)
        except* Outage as outages:
            raise outages.exceptions[0] from None

    async def _chain(self, chain: Chain, group: asyncio.TaskGroup) -> None:
        AFFINITY.set(chain.key)
        try:
            for place in range(chain.length + 1):
                last = place == chain.length
                await self._give_away(chain, place, group, self._room if last else None)
                if not last:
                    await self._step(chain, place)
        except MemalphaError as error:
            self._given_up += 1
            self._gate.forget(chain.remaining)
            chain.fail(error)
        finally:
            await chain.close()

    async def _give_away(
        self, chain: Chain, place: int, group: asyncio.TaskGroup, room: asyncio.Semaphore | None
    ) -> None:
        try:
            async for ask in chain.asks(place):
                await self._give(ask, group, room)
        except UnavailableError as error:
            raise Outage(error) from None

    async def _give(self, ask: Ask, group: asyncio.TaskGroup, room: asyncio.Semaphore | None) -> None:
        if room is not None:
            await room.acquire()
        group.create_task(self._ask(ask, room))

    async def _step(self, chain: Chain, place: int) -> None:
        kind: Kind = "step" if place else "new"
        wish = _Wish(kind, chain.endpoint, chain.tokens(place), chain.remaining)
        await self._tried(lambda: chain.step(place), wish)

    async def _ask(self, ask: Ask, room: asyncio.Semaphore | None) -> None:
        try:
            await self._tried(ask.run, _Wish("ask", ask.endpoint, ask.tokens))
        except MemalphaError as error:
            self._given_up += 1
            self._gate.forget(1)
            ask.fail(error)
        finally:
            if room is not None:
                room.release()

    async def _tried(self, call: Callable[[], Awaitable[None]], wish: _Wish) -> None:
        tries = Tries(self._patience, self._successes[wish.endpoint])
        while (error := await self._called(call, wish)) is not None:
            pause = tries.pause(error, self._successes[wish.endpoint])
            if pause is None:
                raise error
            self._retried += 1
            self._on_retry()
            await asyncio.sleep(pause)

    async def _called(self, call: Callable[[], Awaitable[None]], wish: _Wish) -> MemalphaError | None:
        """Makes one call; what it raised, if that was an error of the call."""
        ticket = await self._gate.enter(wish.kind, wish.tokens, wish.remaining)
        outcome: Outcome = "failed"
        try:
            await call()
            outcome = "done"
        except MemalphaError as error:
            outcome = "busy" if isinstance(error, BusyError) else "failed"
            return error
        finally:
            self._gate.leave(ticket, outcome)
        self._successes[wish.endpoint] += wish.tokens > 0
        return None

    def _report(self, seconds: float, lag: LoopLag) -> Report:
        room = self._limits.slots * seconds
        return Report(
            seconds=seconds,
            calls=self._successes.total(),
            retried=self._retried,
            given_up=self._given_up,
            utilisation=self._gate.busy_seconds / room if room else 0.0,
            cuts=self._gate.cuts,
            lag=lag.quantile(0.99),
        )
