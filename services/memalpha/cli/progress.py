"""Progress on standard error: bars on a terminal, nothing elsewhere; notes in both."""

from types import TracebackType
from typing import Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from memalpha.cli.style import Screen, visible


class Board:
    """The bars of one command. Use as a context manager."""

    def __init__(self, screen: Screen) -> None:
        self._err = screen.err
        self._progress = Progress(
            TextColumn("{task.description:>9}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=screen.err,
            disable=not screen.err.is_terminal,
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def show(self, what: str, done: int, total: int) -> None:
        """Moves a bar, which appears when it is first moved."""
        if what not in self._tasks:
            self._tasks[what] = self._progress.add_task(what, total=total)
        self._progress.update(self._tasks[what], completed=done, total=total)

    def note(self, sentence: str) -> None:
        """Says something beside the bars."""
        self._err.print(visible(sentence), style="dim")
