"""One system that reads one stream and is asked about it: a chain of the scheduler.

Steps on record are replayed, all others are taken and put on record; a question whose row exists is not asked
again. A session is opened before the first step and closed when its last question has its context. Chunks
after the last question are not read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from time import perf_counter

from memalpha.errors import MemalphaError
from memalpha_evals.protocols import NO_USAGE, Reader, Session, Step, System, Usage
from memalpha_evals.rows import Row
from memalpha_evals.runs.asking import Asking, endpoint, failed, with_context
from memalpha_evals.runs.blind import blind, chunks_only
from memalpha_evals.runs.records import Key, Records
from memalpha_evals.scheduler import Ask
from memalpha_evals.streams import AskedQuestion, Stream

_GUESS = 2048
"""Tokens of a step besides its chunk, until one was seen."""


@dataclass(frozen=True, slots=True)
class Sink:
    """Where a run's results go.

    Attributes:
        step: Called with the reading's key, the step's place, the step, and the seconds that it took.
        row: Called with each row, answered or failed.
        replayed: Called once for each step that was on record.
    """

    step: Callable[[Key, int, Step, float], None]
    row: Callable[[Row], None]
    replayed: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Task:
    """What all readings of a run have in common.

    `blank` makes the row of a question, given what was built for it, before anybody is asked. `policy_at` and
    `reader_at` are as in `Comparison`.
    """

    reader: Reader
    budget: int
    records: Records
    sink: Sink
    blank: Callable[[System, Stream, AskedQuestion, Usage], Row]
    policy_at: str = ""
    reader_at: str = ""


class Reading:
    """A `Chain`."""

    def __init__(
        self,
        task: Task,
        system: System,
        stream: Stream,
        questions: Sequence[AskedQuestion],
        asked: AskedQuestion | None = None,
    ) -> None:
        """A reading that was not begun.

        Args:
            task: Of the run.
            system: Reads.
            stream: Is read.
            questions: Those of the stream that have no row yet.
            asked: The only one of them, if the system is to know it.
        """
        self._task, self._system, self._stream = task, system, stream
        self._asked = asked
        self._key: Key = (system.name, stream.id, asked.id if asked else "")
        steps = system.steps(stream)
        waiting = ((min(each.after, steps), each) for each in questions)
        self._waiting = deque(sorted(waiting, key=lambda place_and_asked: place_and_asked[0]))
        self._length = max((place for place, _ in self._waiting), default=0)
        self._recorded = min(task.records.count(self._key), self._length)
        self._done = 0
        self._built = NO_USAGE
        self._session: Session | None = None
        self._rest = _GUESS
        self._endpoint = endpoint(system, task.policy_at)
        self._reader_endpoint = endpoint(task.reader, task.reader_at)

    @property
    def key(self) -> str:
        """See `Chain`; streams of different systems share no prefix."""
        return f"{self._system.name}/{self._stream.id}"

    @property
    def endpoint(self) -> str:
        """See `Chain`."""
        return self._endpoint

    @property
    def length(self) -> int:
        """See `Chain`."""
        return self._length

    @property
    def remaining(self) -> int:
        """See `Chain`."""
        return self._length - max(self._done, self._recorded)

    @property
    def questions(self) -> int:
        """See `Chain`."""
        return len(self._waiting)

    def tokens(self, place: int) -> int:
        """See `Chain`: the chunk's, and what the step before took besides."""
        return 0 if place < self._recorded else self._stream.chunks[place].tokens + self._rest

    async def step(self, place: int) -> None:
        """See `Chain`."""
        session = await self._opened()
        if place < self._recorded:
            step = self._task.records.step(self._key, place)
            await session.replay(place, step)
            self._task.sink.replayed()
        else:
            start = perf_counter()
            step = await session.step(place)
            self._task.sink.step(self._key, place, step, perf_counter() - start)
            self._learn(place, step.usage)
        self._built += step.usage
        self._done = place + 1

    async def asks(self, place: int) -> AsyncIterator[Ask]:
        """See `Chain`."""
        while self._waiting and self._waiting[0][0] == place:
            asked = self._waiting[0][1]
            start = perf_counter()
            known = blind(asked)
            context = await (await self._opened()).context(known, self._task.budget)
            self._waiting.popleft()
            row = with_context(self._row(asked), context, perf_counter() - start)
            yield Asking(self._task.reader, self._reader_endpoint, known, context, row, self._task.sink.row)

    def fail(self, error: MemalphaError) -> None:
        """See `Chain`: questions that have no context yet fail."""
        for _, asked in self._waiting:
            self._task.sink.row(failed(self._row(asked), f"step {self._done}: {error}"))
        self._waiting.clear()

    async def close(self) -> None:
        """See `Chain`."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _row(self, asked: AskedQuestion) -> Row:
        return self._task.blank(self._system, self._stream, asked, self._built)

    async def _opened(self) -> Session:
        if self._session is None:
            asked = blind(self._asked) if self._asked else None
            self._session = await self._system.open(chunks_only(self._stream), asked)
        return self._session

    def _learn(self, place: int, usage: Usage) -> None:
        if usage.calls:
            seen = (usage.prompt_tokens + usage.completion_tokens) // usage.calls
            self._rest = max(0, seen - self._stream.chunks[place].tokens)
