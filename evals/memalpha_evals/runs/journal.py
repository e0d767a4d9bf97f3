"""What a run did, on disk as it happens: steps and rows, in that order.

A thread writes, so that no disk makes the event loop wait: steps every `_WRITE_SECONDS`, durable every
`_SYNC_SECONDS`. A row is written only when every step that came before it is durable. So a row on disk has
its steps on disk, whatever happened: who goes on from there replays them, and never generates again what a
row was made from.
"""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path
from threading import Event, Thread
from time import monotonic
from types import TracebackType
from typing import Any, Self

from memalpha_evals.runs import lines

_WRITE_SECONDS, _SYNC_SECONDS = 0.05, 0.5


class Journal:
    """The one writer of a run's two files. A context manager; everything is durable when it is left."""

    def __init__(self, steps: Path, rows: Path) -> None:
        """Opens the files, which need not exist, and removes torn ends."""
        for path in (steps, rows):
            lines.cut(path)
        self._steps, self._rows = _opened(steps), _opened(rows)
        self._added: deque[tuple[bool, dict[str, Any]]] = deque()
        self._waiting: list[str] = []
        self._ended = Event()
        self._error: OSError | TypeError | ValueError | None = None
        self._thread = Thread(target=self._write, name="journal", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        os.close(self._steps)
        os.close(self._rows)
        if kind is None:
            self._check()

    def step(self, content: dict[str, Any]) -> None:
        """Adds a step.

        Raises:
            OSError: An earlier line could not be written; nothing of this run can be kept any more.
        """
        self._check()
        self._added.append((True, content))

    def row(self, content: dict[str, Any]) -> None:
        """Adds a row; every step that it was made from was added before.

        Raises:
            OSError: As `step`.
        """
        self._check()
        self._added.append((False, content))

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def _write(self) -> None:
        try:
            next_sync = monotonic() + _SYNC_SECONDS
            # By the clock, not line by line: a thread that is woken for each costs the loop more than it
            # saves.
            while not self._ended.wait(_WRITE_SECONDS):
                self._take()
                if monotonic() >= next_sync:
                    self._sync()
                    next_sync = monotonic() + _SYNC_SECONDS
            self._take()
            self._sync()
        except (OSError, TypeError, ValueError) as error:  # also what is no JSON; whoever adds next raises it
            self._error = error

    def _take(self) -> None:
        """Writes the steps that were added, and keeps the rows."""
        steps: list[str] = []
        while self._added:
            is_step, content = self._added.popleft()
            (steps if is_step else self._waiting).append(lines.encoded(content))
        _append(self._steps, steps)

    def _sync(self) -> None:
        os.fsync(self._steps)
        if self._waiting:
            _append(self._rows, self._waiting)
            os.fsync(self._rows)
            self._waiting.clear()


def _opened(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)


def _append(file: int, texts: list[str]) -> None:
    data = b"".join(text.encode() + b"\n" for text in texts)
    while data:
        data = data[os.write(file, data) :]
