"""The two ends: no memory at all, and the whole stream as it is.

Neither reads ahead, and neither looks at the question. `no-memory` shows what a reader knows without the
stream; `full-context` shows the stream, and where that is longer than the budget its newest part, marked.
"""

from __future__ import annotations

from memalpha_evals.protocols import Context
from memalpha_evals.streams import AskedQuestion, Stream
from memalpha_evals.systems.base import Design, SystemOptions
from memalpha_evals.systems.recording import Calls
from memalpha_evals.systems.shown import Stretch, newest


def no_memory(options: SystemOptions) -> Design:
    """The system `no-memory`."""

    async def begin(stream: Stream, asked: AskedQuestion | None, calls: Calls) -> _Nothing:
        return _Nothing()

    about = "shows nothing: what a reader knows or guesses without the stream"
    return Design("no-memory", about, begin, options, builds=False)


def full_context(options: SystemOptions) -> Design:
    """The system `full-context`."""

    async def begin(stream: Stream, asked: AskedQuestion | None, calls: Calls) -> _Everything:
        return _Everything(stream)

    about = "shows the stream as it is, of a longer one the newest part"
    return Design("full-context", about, begin, options, builds=False)


class _Nothing:
    async def read(self, place: int) -> None:
        """Nothing to do."""

    async def context(self, asked: AskedQuestion, budget: int) -> Context:
        return Context("", 0, 0)

    async def close(self) -> None:
        """Nothing is held."""


class _Everything:
    def __init__(self, stream: Stream) -> None:
        self._stretches = [Stretch(each.text, each.event_time, each.tokens) for each in stream.chunks]
        # Questions come in order, many of them at one place: the last context is often the next one.
        self._last: tuple[tuple[int, int], Context] | None = None

    async def read(self, place: int) -> None:
        """Nothing to do."""

    async def context(self, asked: AskedQuestion, budget: int) -> Context:
        key = asked.after, budget
        if self._last is None or self._last[0] != key:
            read = self._stretches[: asked.after]
            fitted = newest(read, budget)
            stored = sum(each.tokens for each in read)
            self._last = key, Context(fitted.text, fitted.tokens, stored, fitted.cut)
        return self._last[1]

    async def close(self) -> None:
        self._last = None
