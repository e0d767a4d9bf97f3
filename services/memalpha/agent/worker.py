"""The worker: memorizes what is pending, in every bank, for as long as it runs.

Chunks of one bank are taken strictly in order and by one task at a time; banks take turns, one chunk each, so
that a long stream holds nobody up. A bank enters the line when `wake` names it or when a poll finds it
pending. An outage of the policy, of the memory, or of its readiness to write (a full disk) pauses all tasks
together, with growing pauses and one log line when it begins and one when it ends. What cannot be memorized
now is left where it is: the next poll finds it again. Vectors are handed over beside all this (`backfill`),
so that no chunk waits for them. Stopping waits for the chunks in work; cancelling
abandons them, which leaves no partial effect (see `loop`).
"""

from __future__ import annotations

import asyncio

from memalpha.agent.backfill import Backfill
from memalpha.agent.backoff import Backoff
from memalpha.agent.loop import Memorizer, PolicyOutage
from memalpha.agent.outage import Outage
from memalpha.agent.protocols import MemoryBackend, Policy
from memalpha.agent.settings import AgentSettings
from memalpha.agent.vectors import Vectors
from memalpha.api.agent.v1alpha1.agent_service_pb2 import ChunkState
from memalpha.errors import BusyError, MemalphaError, NotFoundError, UnavailableError
from memalpha.telemetry import get_logger

_log = get_logger(__name__)


class BankQueue:
    """Banks in line. None is in line twice, and none is taken while it is in work."""

    def __init__(self) -> None:
        """With nobody in line."""
        self._due: dict[str, None] = {}
        self._busy: set[str] = set()
        self._changed = asyncio.Event()
        self._closed = False

    def put(self, bank_id: str) -> None:
        """Puts a bank at the end of the line, unless it is in line already."""
        self._due.setdefault(bank_id)
        self._changed.set()

    async def take(self) -> str | None:
        """The first bank that is not in work, as soon as there is one; None once the queue is closed."""
        while not self._closed:
            for bank_id in self._due:
                if bank_id not in self._busy:
                    del self._due[bank_id]
                    self._busy.add(bank_id)
                    return bank_id
            self._changed.clear()
            await self._changed.wait()
        return None

    def done(self, bank_id: str) -> None:
        """Says that a taken bank is in work no more."""
        self._busy.discard(bank_id)
        self._changed.set()

    def close(self) -> None:
        """Ends every `take`."""
        self._closed = True
        self._changed.set()


class Worker:
    """Runs the loop over all pending banks. One `run` at a time."""

    def __init__(
        self,
        memory: MemoryBackend,
        policy: Policy,
        settings: AgentSettings,
        vectors: Vectors | None = None,
    ) -> None:
        """Over a memory and a policy; nothing happens before `run`."""
        vectors = vectors or Vectors(None, settings)
        self._memory = memory
        self._memorizer = Memorizer(memory, policy, settings, vectors)
        self._backfill = Backfill(memory, vectors, settings)
        self._settings = settings
        backoff = Backoff(settings.backoff_seconds, settings.longest_backoff_seconds)
        # A poll only reads: that it succeeds says nothing about a memory that is too busy, or full, to write.
        self._outages = {name: Outage(name, backoff) for name in ("policy", "memory", "writing")}
        self._queue: BankQueue | None = None
        self._stop = asyncio.Event()
        self._complaints: dict[str, str] = {}

    @property
    def running(self) -> bool:
        """Whether `run` is under way."""
        return self._queue is not None

    def wake(self, bank_id: str) -> None:
        """Puts a bank in line at once instead of at the next poll."""
        if self._queue is not None:
            self._queue.put(bank_id)

    async def run(self, stop: asyncio.Event) -> None:
        """Works until `stop` is set, then finishes the chunks in work."""
        queue = self._queue = BankQueue()
        self._stop = stop
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._poll(queue))
                group.create_task(self._backfill.run(stop))
                for _ in range(self._settings.concurrency):
                    group.create_task(self._work(queue))
                await stop.wait()
                queue.close()
        finally:
            self._queue = None

    async def _poll(self, queue: BankQueue) -> None:
        while not self._stop.is_set():
            try:
                async for bank in self._memory.pending_banks():
                    if not bank.parked:
                        queue.put(bank.bank_id)
            except MemalphaError as error:
                self._outages["memory"].failed(error)
            else:
                self._outages["memory"].over()
            await self._pause(max(self._settings.poll_seconds, self._outages["memory"].remaining()))

    async def _work(self, queue: BankQueue) -> None:
        while not self._stop.is_set():
            wait = max(outage.remaining() for outage in self._outages.values())
            if wait > 0:
                await self._pause(wait)
                continue
            bank_id = await queue.take()
            if bank_id is None:
                return
            try:
                if await self._memorize(bank_id):
                    queue.put(bank_id)
            finally:
                queue.done(bank_id)

    async def _memorize(self, bank_id: str) -> bool:
        """Tries the bank's next chunk; True if the bank shall get in line again."""
        try:
            outcome = await self._memorizer.next_chunk(bank_id)
        except PolicyOutage as outage:
            self._outages["policy"].failed(outage.error)
            return True
        except (UnavailableError, BusyError) as error:
            away = isinstance(error, UnavailableError)
            self._outages["memory" if away else "writing"].failed(error)
            return True
        except NotFoundError:
            return False
        except MemalphaError as error:
            self._complain(bank_id, f"{error.reason}: {error}")
            return False
        if outcome is None:
            return False
        for outage in self._outages.values():
            outage.over()
        if outcome.state == ChunkState.CHUNK_STATE_MEMORIZED:
            self._backfill.wake()
            self._complaints.pop(bank_id, None)
            return outcome.pending_chunks > 0
        parked = outcome.state == ChunkState.CHUNK_STATE_PARKED
        self._complain(bank_id, f"chunk {outcome.chunk.position} {'parked' if parked else 'failed'}")
        return False

    def _complain(self, bank_id: str, complaint: str) -> None:
        """Logs why a bank does not get on, once for each reason."""
        if self._complaints.get(bank_id) != complaint:
            self._complaints[bank_id] = complaint
            _log.warning("bank left for later", bank_id=bank_id, reason=complaint)

    async def _pause(self, seconds: float) -> None:
        """Waits, but not beyond `stop`."""
        try:
            await asyncio.wait_for(self._stop.wait(), seconds)
        except TimeoutError:
            return
