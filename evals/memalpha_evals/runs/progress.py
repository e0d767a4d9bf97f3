"""How far a run is, on standard error: bars on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from memalpha.cli.style import plural
from memalpha_evals.runs.execute import Counts

_FRAME, _LINE = 0.5, 10.0
"""Seconds between looks on a terminal, and between lines elsewhere."""


def console() -> Console:
    """Standard error, where nothing is marked up or wrapped."""
    return Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)


@asynccontextmanager
async def shown(counts: Counts, out: Console) -> AsyncIterator[None]:
    """Shows counts for as long as it is open."""
    board = _Bars(counts, out) if out.is_terminal else _Lines(counts, out)
    with board:
        task = asyncio.create_task(_looking(board))
        try:
            yield
        finally:
            task.cancel()


class _Lines:
    """A line every ten seconds, and one at the end."""

    every = _LINE

    def __init__(self, counts: Counts, console: Console) -> None:
        self._counts, self._console = counts, console
        self._begun = monotonic()

    def look(self) -> None:
        """Shows what there is to see."""
        counts = self._counts
        words = [
            f"chunks {counts.chunks:,}/{counts.all_chunks:,}",
            f"questions {counts.questions:,}/{counts.all_questions:,}",
            *figures(counts, monotonic() - self._begun),
        ]
        self._console.print("  ".join(words))

    def __enter__(self) -> _Lines:
        return self

    def __exit__(self, *error: object) -> None:
        self.look()


class _Bars:
    """Two bars and a line of figures."""

    every = _FRAME

    def __init__(self, counts: Counts, console: Console) -> None:
        self._counts = counts
        self._begun = monotonic()
        self._bars = Progress(
            TextColumn("{task.description:>9}"), BarColumn(), MofNCompleteColumn(), console=console
        )
        self._chunks = self._bars.add_task("chunks", total=None)
        self._questions = self._bars.add_task("questions", total=None)
        self._live = Live(
            console=console, refresh_per_second=2, get_renderable=self._picture, transient=False
        )

    def look(self) -> None:
        """The live view looks for itself."""

    def _picture(self) -> Group:
        counts = self._counts
        self._bars.update(self._chunks, completed=counts.chunks, total=counts.all_chunks or None)
        self._bars.update(self._questions, completed=counts.questions, total=counts.all_questions or None)
        return Group(self._bars, Text("  ".join(figures(counts, monotonic() - self._begun)), "dim"))

    def __enter__(self) -> _Bars:
        self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._live.stop()


async def _looking(board: _Lines | _Bars) -> None:
    while True:
        await asyncio.sleep(board.every)
        board.look()


def figures(counts: Counts, seconds: float) -> list[str]:
    """What else is to be known, each in a few words: what it takes, what failed, what is left."""
    usage, done = counts.usage, counts.chunks + counts.questions
    found = []
    if counts.replayed:
        found.append(f"{counts.replayed:,} replayed")
    if done and seconds:
        found.append(f"{done / seconds:,.1f} per second")
    if usage.calls:
        tokens = usage.prompt_tokens + usage.completion_tokens
        found.append(f"{plural(usage.calls, 'call')} with {tokens:,} tokens")
    if counts.retried:
        found.append(f"{counts.retried:,} tried again")
    if counts.failures:
        found.append(plural(counts.failures, "failed row"))
    if done and counts.left:
        found.append(f"about {duration(seconds * counts.left / done)} left")
    return found or [duration(seconds)]


def duration(seconds: float) -> str:
    """Two units at most: `2h 05m`, `3m 20s`, `9s`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h {minutes:02}m"
    return f"{minutes}m {rest:02}s" if minutes else f"{rest}s"
