"""Verdicts that were given, in a file that only grows: what was judged once is never asked again.

A verdict is known by all that it depends on: the case, the prompt's words, the model, and how it votes. So
a run that was stopped goes on, and one that was scored again is asked only what changed. Beside it stands its
case, so that a person can check it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from memalpha.errors import CorruptionError, make
from memalpha_evals.judges.audit import shape_fault
from memalpha_evals.judges.judge import Case, Judge, Verdict
from memalpha_evals.protocols import Usage
from memalpha_evals.runs import lines

FILE = "verdicts.jsonl"


class Verdicts:
    """Of one judge."""

    def __init__(self, judge: Judge, path: Path | None = None) -> None:
        """Reads those that are there.

        Args:
            judge: Gives them.
            path: Where they are kept; None: nowhere.

        Raises:
            CorruptionError: DAMAGED_LINE; it names file, line and field.
        """
        self._judge, self._path = judge, path
        self._found = dict(_verdicts(path)) if path else {}
        if path:
            lines.cut(path)

    def get(self, case: Case) -> Verdict | None:
        """The verdict on a case, if there is one."""
        return self._found.get(self._key(case))

    def add(self, case: Case, verdict: Verdict) -> None:
        """Keeps a verdict."""
        self._found[self._key(case)] = verdict
        if self._path:
            with self._path.open("a", encoding="utf-8") as file:
                line = {"key": self._key(case), **asdict(verdict), "case": case._asdict()}
                file.write(lines.encoded(line) + "\n")

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
