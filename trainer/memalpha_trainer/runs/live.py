"""Progress of a run while it works: a table on a terminal, a line for each step elsewhere, or nothing.

What is shown are lines of `metrics.jsonl`; nothing is measured here. Before the first step there is the
phase, so that a run is seen to work from its first second.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from memalpha.cli.style import visible
from memalpha_trainer.runs.columns import Line, duration, mean, remaining, shown

_ROWS = 10
_MEAN_OF = 20


class Progress:
    """What a person sees of a run. A context manager; used by one thread."""

    def __init__(self, of: int, *, quiet: bool = False, console: Console | None = None) -> None:
        """For a run of so many steps.

        Args:
            of: Optimizer steps.
            quiet: Show nothing but notes.
            console: Where to; standard error if None.
        """
        self._of = of
        self._quiet = quiet
        self._console = console or Console(
            stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True
        )
        self._lines: deque[Line] = deque(maxlen=_MEAN_OF)
        self._what = self._phase = ""
        self._live = Live(
            console=self._console, refresh_per_second=2, get_renderable=self._table, transient=False
        )

    @property
    def _table_is_shown(self) -> bool:
        return self._console.is_terminal and not self._quiet

    def __enter__(self) -> Self:
        if self._table_is_shown:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._phase = ""
        self._live.stop()

    def phase(self, what: str, done: int = 0, of: int = 0) -> None:
        """Says what the run does now, and how much of it is done."""
        new, self._what = what != self._what, what
        self._phase = f"{what}: {done} of {of}" if of else what
        # Where lines stay, a phase is worth one only as long as there is no step.
        if new and not self._lines and not self._quiet and not self._console.is_terminal:
            self._console.print(self._phase)

    def step(self, line: Line) -> None:
        """Shows the numbers of a step."""
        self._lines.append(line)
        if not self._quiet and not self._console.is_terminal:
            self._console.print(plain(line, list(self._lines), self._of))

    def note(self, sentence: str) -> None:
        """Says something that must be read, quiet or not."""
        self._console.print(visible(sentence), style="dim")

    def _table(self) -> Group:
        return Group(table(list(self._lines), self._of, self._console.width), Text(self._phase, "dim"))


def table(lines: Sequence[Line], of: int, width: int) -> Table:
    """The last steps, and the mean over some more."""
    columns = shown(lines, width)
    found = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, title_justify="left")
    left = remaining(lines, of)
    found.title = None if left is None else f"about {duration(left)} left"
    found.add_column("step", justify="right", no_wrap=True)
    for column in columns:
        found.add_column(column.head, justify="right", no_wrap=True)
    for line in lines[-_ROWS:]:
        found.add_row(f"{line['step']}/{of}", *(each.cell(line.get(each.key)) for each in columns))
    if len(lines) > 1:
        found.add_section()
        means = (each.cell(mean(lines, each.key)) for each in columns)
        found.add_row(f"mean of {len(lines)}", *means, style="dim")
    return found


def plain(line: Line, lines: Sequence[Line], of: int) -> str:
    """One step in one line."""
    columns = shown([line], 10_000)
    words = [f"{column.head} {column.cell(line.get(column.key))}" for column in columns]
    left = remaining(lines, of)
    end = [] if left is None else [f"left {duration(left)}"]
    return "  ".join([f"step {line['step']}/{of}", *words, *end])
