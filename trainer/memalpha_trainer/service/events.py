"""What happened in a job, numbered for good: whoever watches goes on after the last number that he saw.

Events are noticed by looking at the run's files. They are durable before anybody is told of them, so that a
number means the same after the service was killed. The last event says how the job ended; if its run is
taken up again by hand, more events come after it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from memalpha_trainer.runs import lines
from memalpha_trainer.runs.lines import JsonLines
from memalpha_trainer.runs.reading import finite
from memalpha_trainer.service.jobs import ENDED, EVENTS, Job, Standing

_WEIGHTS = re.compile(r"v(\d{6,})")
Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class Event:
    """One event; one of state, metrics and checkpoint is set.

    Attributes:
        sequence: From 1, without gaps.
        step: Optimizer steps done.
        time: When it was noticed, in ISO 8601.
        state: The new state.
        error: Of a job that failed.
        metrics: Numbers of the step.
        checkpoint: Folder of the weights that were written.
        version: Theirs.
    """

    sequence: int
    step: int
    time: str
    state: str = ""
    error: str = ""
    metrics: dict[str, float] | None = None
    checkpoint: str = ""
    version: int = 0


class EventLog:
    """The events of one job. One at a time may use it."""

    def __init__(self, job: Job, clock: Clock) -> None:
        """Reads those that were noticed before."""
        self._job = job
        self._clock = clock
        self._file = job.folder / EVENTS
        self.events = [
            Event(number, **json.loads(line)) for number, line in enumerate(lines.read(self._file), 1)
        ]
        self._told = max((event.step for event in self.events if event.metrics is not None), default=0)
        self._version = max((event.version for event in self.events), default=0)
        self._state = next((event.state for event in reversed(self.events) if event.state), "")
        self._read = 0
        self._writer: JsonLines | None = None

    @property
    def ended(self) -> datetime | None:
        """When the job was found to have ended; nothing is added then, unless its run is taken up again."""
        return datetime.fromisoformat(self.events[-1].time) if self._state in ENDED else None

    def notice(self) -> Standing:
        """Adds what has happened since; where the job stands."""
        standing = self._job.look()
        if self.ended is not None and self._went_on(standing):
            # What it had written since its checkpoint was cut off, and the file is another.
            self._state, self._read = "", 0
        if self.ended is None:
            # What a job that has ended left behind comes before the word that it has.
            self._add([*self._metrics(), *self._checkpoints(standing), *self._change(standing)])
            if self.ended is not None:
                self.close()
        return standing

    def close(self) -> None:
        """Closes the file until something is added again."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _went_on(self, standing: Standing) -> bool:
        """Whether it was taken up again since it ended, if only to end likewise some steps later.

        A folder that is being deleted looks like that of a job that waits, and is not.
        """
        moved = standing.state != self._state or standing.step > self.events[-1].step
        return moved and self._job.has_begun

    def _metrics(self) -> Iterator[dict[str, Any]]:
        found, self._read = whole_lines(self._job.run.metrics_file, self._read)
        for line in found:
            numbers = json.loads(line)
            # A run that was taken up again repeats steps.
            if numbers["step"] > self._told:
                self._told = numbers["step"]
                yield {"step": self._told, "metrics": finite(numbers)}

    def _checkpoints(self, standing: Standing) -> Iterator[dict[str, Any]]:
        for version, folder in weights(self._job.run.weights):
            if version > self._version:
                self._version = version
                yield {"step": standing.step, "checkpoint": str(folder.resolve()), "version": version}

    def _change(self, standing: Standing) -> Iterator[dict[str, Any]]:
        if standing.state != self._state:
            self._state = standing.state
            yield {"step": standing.step, "state": standing.state, "error": standing.error}

    def _add(self, found: list[dict[str, Any]]) -> None:
        if not found:
            return
        step, time = self.events[-1].step if self.events else 0, self._clock().isoformat()
        added = list[Event]()
        for each in found:
            step = max(step, each.pop("step"))
            added.append(Event(len(self.events) + len(added) + 1, step, time, **each))
        if self._writer is None:
            # Unlike the writer this makes no folder, where that was deleted meanwhile.
            self._file.touch()
            self._writer = JsonLines(self._file)
        self._writer.append([_line(event) for event in added])
        self.events += added


def weights(root: Path) -> list[tuple[int, Path]]:
    """Versioned weights below a folder, oldest first."""
    try:
        folders = list(root.iterdir())
    except FileNotFoundError:
        return []
    return sorted((int(match[1]), each) for each in folders if (match := _WEIGHTS.fullmatch(each.name)))


def whole_lines(file: Path, start: int) -> tuple[list[bytes], int]:
    """The whole lines from a place on, and the place after them; from 0 on if the file became shorter."""
    try:
        read = file.open("rb")
    except FileNotFoundError:
        return [], 0
    with read:
        read.seek(start if start <= read.seek(0, os.SEEK_END) else 0)
        data = read.read()
        end = read.tell()
    whole = data[: data.rfind(b"\n") + 1]
    return whole.splitlines(), end - len(data) + len(whole)


def _line(event: Event) -> str:
    told = {"step": event.step, "time": event.time}
    if event.metrics is not None:
        told["metrics"] = event.metrics
    elif event.checkpoint:
        told |= {"checkpoint": event.checkpoint, "version": event.version}
    else:
        told |= {"state": event.state, "error": event.error}
    return json.dumps(told, ensure_ascii=False)
