"""A run's folder for those who only look: the viewer, the report, the job service.

Nothing here takes the lock or writes, so that a run can be watched while it works. Of a file that is being
written the whole lines are read.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from memalpha.errors import CorruptionError, NotFoundError, make
from memalpha_trainer.config import Config, resolve
from memalpha_trainer.records import Rollout
from memalpha_trainer.runs import lines, lock, status
from memalpha_trainer.runs.credits import RolloutCredit
from memalpha_trainer.runs.status import Status

T = TypeVar("T")

CONFIG = "config.toml"
STARTS = "environment.json"


class RunFiles:
    """The files of a run, by their names."""

    def __init__(self, path: Path) -> None:
        """Over a folder; see `find` for one that must hold a run."""
        self.path = path
        self.metrics_file = path / "metrics.jsonl"
        self.rollouts_file = path / "rollouts.jsonl"
        self.credit_file = path / "credit.jsonl"
        self.status_file = path / "status.json"
        self.lock_file = path / "lock"
        self.checkpoints = path / "checkpoints"
        self.weights = path / "weights"

    @classmethod
    def find(cls, path: Path) -> RunFiles:
        """The run in a folder.

        Raises:
            NotFoundError: NO_RUN.
        """
        if not (path / CONFIG).is_file():
            raise make(NotFoundError, "NO_RUN", f"there is no run in {path}: no {CONFIG}", path=path)
        return RunFiles(path)

    @property
    def config(self) -> Config:
        """The run's settings, as it was last started."""
        return resolve(self.path / CONFIG)

    @property
    def starts(self) -> list[dict[str, Any]]:
        """What each of its processes ran on, the latest last (`environment.describe`)."""
        try:
            return json.loads((self.path / STARTS).read_bytes())["starts"]
        except FileNotFoundError:
            return []

    def status(self) -> Status:
        """Where it stands; `died` if it was running and its process is gone."""
        found = status.read(self.status_file)
        if found.state == "running" and not lock.held(self.lock_file):
            # it may have ended in good order between the two looks
            found = status.read(self.status_file)
            return replace(found, state="died") if found.state == "running" else found
        return found

    def seconds(self) -> float:
        """How long the work took that stands: of each process from its start to the last step that was kept.

        The last one's goes to where it stands now. What was cut off and done again counts once.
        """
        times = {line["step"]: line["time"] for line in self.metrics()}
        begins = [_epoch(each["time"]) for each in self.starts]
        ends = [times.get(each["step"], 0.0) for each in self.starts[1:]]
        ends.append(_epoch(self.status().changed))
        return sum(max(0.0, end - begin) for begin, end in zip(begins, ends, strict=True))

    def metrics(self) -> list[dict[str, Any]]:
        """The numbers of each step, in order; `step` counts the optimizer steps done by then."""
        return [json.loads(line) for line in lines.read(self.metrics_file)]

    def rollouts(self, step: int | None = None) -> Iterator[Rollout]:
        """Rollouts of one collection, or of all.

        Raises:
            CorruptionError: DAMAGED_LINE.
        """
        return _parsed(self.rollouts_file, step, Rollout.from_json)

    def credits(self, step: int | None = None) -> Iterator[RolloutCredit]:
        """What they earned.

        Raises:
            CorruptionError: DAMAGED_LINE.
        """
        return _parsed(self.credit_file, step, RolloutCredit.from_json)


def finite(line: Mapping[str, Any]) -> dict[str, float]:
    """The numbers in a line of metrics, without its step and time, and without what is none."""
    return {
        name: float(value)
        for name, value in line.items()
        if name not in ("step", "time") and isinstance(value, int | float) and math.isfinite(value)
    }


def _epoch(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()


def _parsed(path: Path, step: int | None, parse: Callable[[str], T]) -> Iterator[T]:
    for line in lines.read(path, step):
        try:
            yield parse(line)
        except (KeyError, TypeError, ValueError) as error:
            message = f"{path} holds a line of another shape: {error!r:.200}: {line[:100]}"
            raise make(CorruptionError, "DAMAGED_LINE", message, path=path) from None
