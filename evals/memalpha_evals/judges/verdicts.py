"""Verdicts that were given, in a file that only grows: what was judged once is never asked again.

A verdict is known by all that it depends on: the case, the prompt's words, the model, and how it votes. So
a run that was stopped goes on, and one that was scored again is asked only what changed. Beside it stands its
case, so that a person can check it. The file is open, and nobody else's, before the first verdict is asked
for: none is paid for that cannot be kept, or that another process pays for too.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Self, TextIO

from pydantic import TypeAdapter, ValidationError

from memalpha.errors import BusyError, CorruptionError, InvalidInputError, make
from memalpha_evals.judges.audit import shape_fault
from memalpha_evals.judges.judge import Case, Judge, Verdict
from memalpha_evals.protocols import Usage
from memalpha_evals.runs import lines

FILE = "verdicts.jsonl"


class Verdicts:
    """Of one judge. A context manager; the file is free again when it is left."""

    def __init__(self, judge: Judge, path: Path | None = None) -> None:
        """Reads those that are there.

        Args:
            judge: Gives them.
            path: Where they are kept; None: nowhere.

        Raises:
            InvalidInputError: VERDICTS_FILE; it cannot be written.
            BusyError: VERDICTS_IN_USE; another process has it.
            CorruptionError: DAMAGED_LINE; it names file, line and field.
        """
        self._judge, self._found = judge, dict[str, Verdict]()
        self._file = _opened(path) if path else None
        if path:
            try:
                self._found |= _verdicts(path)
                lines.cut(path)
            except BaseException:
                self.__exit__()
                raise

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes the file."""
        if self._file:
            self._file.close()

    def get(self, case: Case) -> Verdict | None:
        """The verdict on a case, if there is one."""
        return self._found.get(self._key(case))

    def add(self, case: Case, verdict: Verdict) -> None:
        """Keeps a verdict."""
        self._found[self._key(case)] = verdict
        if self._file:
            line = {"key": self._key(case), **asdict(verdict), "case": case._asdict()}
            self._file.write(lines.encoded(line) + "\n")
            self._file.flush()

    def _key(self, case: Case) -> str:
        given = {"case": case._asdict(), "judge": self._judge.identity}
        return sha256(json.dumps(given, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of the file; `correct` stands for `score` in those from before there were grades."""

    key: str
    votes: tuple[float | None, ...]
    usage: Usage
    score: float | None = None
    correct: bool | None = None

    @property
    def verdict(self) -> Verdict:
        """What it says."""
        return Verdict(float(self.correct or 0) if self.score is None else self.score, self.votes, self.usage)


_SHAPE = TypeAdapter(_Line)


def _opened(path: Path) -> TextIO:
    """The file, for this process alone; the kernel forgets the lock with the process."""
    try:
        file = path.open("a", encoding="utf-8")
    except OSError as error:
        message = f"verdicts must be kept in a file that can be written, not {path}: {error.strerror}"
        raise make(InvalidInputError, "VERDICTS_FILE", message, path=path) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        message = f"{path} is in use by another process that judges; wait for it, or keep verdicts elsewhere"
        raise make(BusyError, "VERDICTS_IN_USE", message, path=path) from None
    return file


def _verdicts(path: Path) -> Iterator[tuple[str, Verdict]]:
    for number, (_, raw) in enumerate(lines.parsed(path), 1):
        try:
            line = _SHAPE.validate_python(raw)
        except ValidationError as error:
            raise _damaged(path, number, shape_fault(error)) from None
        if line.score is None and line.correct is None:
            raise _damaged(path, number, "score: Field required")
        yield line.key, line.verdict


def _damaged(path: Path, number: int, fault: str) -> CorruptionError:
    message = f"{path}, line {number} is no verdict: {fault}"
    return make(CorruptionError, "DAMAGED_LINE", message, path=path, line=number)
