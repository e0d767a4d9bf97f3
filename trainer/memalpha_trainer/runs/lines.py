"""A file of JSON lines that only grows, and of which no crash leaves more than a torn end.

Every line begins with its step, `{"step":7`, and steps never fall, so that a step is found, and everything
from a step on is cut, without parsing what stands before. Lines are durable when `append` returns. A last
line without its newline was being written when the process ended: readers pass over it, the next writer
removes it. Damage anywhere else is an error, because no crash makes it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from memalpha.errors import CorruptionError, make

_STEP = re.compile(rb'\{"step":\s*(\d+)[,}]')


class JsonLines:
    """The file's one writer."""

    def __init__(self, path: Path) -> None:
        """Opens the file, which need not exist, nor its folder, and removes a torn end.

        Raises:
            CorruptionError: DAMAGED_LINE.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        self._last, self._size = _whole(path) if path.exists() else (0, 0)
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.ftruncate(self._file, self._size)

    def append(self, lines: Iterable[str]) -> None:
        """Adds lines, all or none of them, and waits until they are durable.

        Args:
            lines: Without newlines; each begins with its step.

        Raises:
            ValueError: A line has no step, or a lower one than the line before.
        """
        encoded, last = [line.encode() for line in lines], self._last
        for line in encoded:
            last = _next(line, last)
        data = b"".join(line + b"\n" for line in encoded)
        try:
            _write(self._file, data)
        except OSError:
            os.ftruncate(self._file, self._size)
            raise
        self._size += len(data)
        self._last = last

    def close(self) -> None:
        """Nothing is left to write."""
        os.close(self._file)


def read(path: Path, step: int | None = None) -> Iterator[str]:
    """Whole lines of a file, of one step or of all; none if there is no file.

    Raises:
        CorruptionError: DAMAGED_LINE; it names file and line.
    """
    if path.exists():
        for found, line, _ in _lines(path):
            if step is None or found == step:
                yield line.decode()


def steps(path: Path) -> dict[int, int]:
    """The number of lines of each step, in order."""
    counts: dict[int, int] = {}
    for found, _, _ in _lines(path) if path.exists() else ():
        counts[found] = counts.get(found, 0) + 1
    return counts


def cut(path: Path, step: int) -> int:
    """Removes the lines of a step and of all later ones, and a torn end; how many lines went.

    Nobody may have the file open for writing.
    """
    if not path.exists():
        return 0
    keep, gone = 0, 0
    for found, _, end in _lines(path):
        keep, gone = (end, gone) if found < step else (keep, gone + 1)
    with path.open("r+b") as file:
        file.truncate(keep)
        os.fsync(file.fileno())
    return gone


def _lines(path: Path) -> Iterator[tuple[int, bytes, int]]:
    """Step, text and end in bytes of each whole line."""
    end = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return
            match = _STEP.match(line)
            if match is None:
                message = f"{path}, line {number} does not begin with its step: {line[:60]!r}"
                raise make(CorruptionError, "DAMAGED_LINE", message, path=path, line=number)
            end += len(line)
            yield int(match[1]), line[:-1], end


def _whole(path: Path) -> tuple[int, int]:
    """The last step, and the bytes of whole lines."""
    last, size = 0, 0
    for step, _, end in _lines(path):
        last, size = step, end
    return last, size


def _next(line: bytes, last: int) -> int:
    """The step of a line that is to follow one of the step `last`."""
    match = _STEP.match(line)
    if match is None or b"\n" in line:
        raise ValueError(f"a line must be one and begin with its step, not {line[:100]!r}")
    if int(match[1]) < last:
        raise ValueError(f"step {int(match[1])} must not follow step {last}")
    return int(match[1])


def _write(file: int, data: bytes) -> None:
    while data:
        data = data[os.write(file, data) :]
    os.fsync(file)
