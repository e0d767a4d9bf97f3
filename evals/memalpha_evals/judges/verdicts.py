"""Verdicts that were given, in a file that only grows: what was judged once is never asked again.

A verdict is known by all that it depends on: the case, the prompt's words, the model, and how it votes. So
a run that was stopped goes on, and one that was scored again is asked only what changed.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path

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
            CorruptionError: DAMAGED_LINE.
        """
        self._judge, self._path = judge, path
        self._found = {raw["key"]: _verdict(raw) for _, raw in lines.parsed(path)} if path else {}
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
                file.write(lines.encoded({"key": self._key(case), **asdict(verdict)}) + "\n")

    def _key(self, case: Case) -> str:
        given = {"case": case._asdict(), "judge": self._judge.identity}
        return sha256(json.dumps(given, sort_keys=True).encode()).hexdigest()


def _verdict(raw: dict) -> Verdict:
    score = raw["score"] if "score" in raw else float(raw["correct"])  # before there were grades
    return Verdict(score, tuple(raw["votes"]), Usage(**raw["usage"]))
