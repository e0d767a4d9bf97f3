"""A run's folder: all that a run leaves behind, and that it needs to go on exactly.

    config.toml      the settings, resolved        metrics.jsonl    numbers of each step
    environment.json what it ran on                rollouts.jsonl   what the policy wrote, replayable
    status.json      where it stands               credit.jsonl     what training made of it
    checkpoints/     to go on from                 weights/         to serve

It is made once; a name that is taken is an error unless it is resumed, and then its settings must be those
that it was made with. One process works on it. What a step wrote is durable before the step's checkpoint is,
so that `cut` finds, for every checkpoint, all lines up to it and removes those after it.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from types import TracebackType
from typing import Any, Self

from memalpha.errors import AlreadyExistsError, InvalidInputError, make
from memalpha.files import replace, replace_json
from memalpha_trainer.config import Config
from memalpha_trainer.records import Rollout
from memalpha_trainer.runs import environment, lines, status
from memalpha_trainer.runs.credits import RolloutCredit
from memalpha_trainer.runs.free import FREE, differing
from memalpha_trainer.runs.lines import JsonLines
from memalpha_trainer.runs.lock import Lock
from memalpha_trainer.runs.origin import Origin
from memalpha_trainer.runs.reading import CONFIG, STARTS, RunFiles
from memalpha_trainer.runs.status import State, Status
from memalpha_trainer.runs.toml import dumps, flat
from memalpha_trainer.runs.trackers import Told

_UNKNOWN = Origin()
_ID_DIGITS = 8


class RunFolder(RunFiles):
    """The folder of a run that this process works on. A context manager, which tells how the run ended."""

    def __init__(self, config: Config, lock: Lock, before: State | None, origin: Origin) -> None:
        """Use `create` or `resume`."""
        super().__init__(config.folder)
        self._config = config
        self._origin = origin
        self._lock = lock
        self._started = _now()
        self._state: State | None = before
        self._step = 0
        self._begun = False
        self._open: dict[str, JsonLines] = {}

    @property
    def told(self) -> Told:
        """What trackers know of the run."""
        return Told(f"{self._config.name}-{self.starts[-1]['id']}", self.path / "trackers.json")

    @staticmethod
    def check(config: Config, *, resume: bool) -> None:
        """Whether there is a run to resume, or none in the way, before anything is asked or made.

        Raises:
            NotFoundError: NO_RUN.
            AlreadyExistsError: RUN_EXISTS.
        """
        if resume:
            RunFiles.find(config.folder)
        elif (config.folder / CONFIG).exists():
            message = f"run {config.folder} exists: resume it, or choose another name"
            raise make(AlreadyExistsError, "RUN_EXISTS", message, path=config.folder)

    @classmethod
    def create(cls, config: Config, origin: Origin = _UNKNOWN) -> Self:
        """Makes the folder of a new run.

        Args:
            config: The run's.
            origin: What it starts from.

        Raises:
            AlreadyExistsError: RUN_EXISTS.
            BusyError: RUN_IN_USE.
        """
        config.folder.mkdir(parents=True, exist_ok=True)
        lock = Lock(config.folder / "lock")
        try:
            return cls._created(config, lock, origin)
        except BaseException:
            lock.release()
            raise

    @classmethod
    def resume(cls, config: Config, origin: Origin = _UNKNOWN) -> Self:
        """Takes over the folder of a run that ended; `cut` comes next.

        Args:
            config: The run's.
            origin: What it starts from, now.

        Raises:
            NotFoundError: NO_RUN.
            InvalidInputError: ANOTHER_CONFIG; it names the first setting that differs. ANOTHER_BASE,
                ANOTHER_DATA, ANOTHER_REPLAY, ANOTHER_READER, ANOTHER_JUDGE.
            BusyError: RUN_IN_USE.
        """
        files = RunFiles.find(config.folder)
        lock = Lock(files.lock_file)
        try:
            _require_same(files.config, config)
            origin.require_same(files.starts, files.path)
            before = status.read(files.status_file)
            run = cls(config, lock, before.state, origin)
            run.running(before.step, "resuming")
            return run
        except BaseException:
            lock.release()
            raise

    @classmethod
    def _created(cls, config: Config, lock: Lock, origin: Origin) -> Self:
        cls.check(config, resume=False)
        run = cls(config, lock, None, origin)
        run._tell("created", "")
        run._begin(0)
        return run

    def cut(self, done: int) -> int:
        """Forgets what came after a checkpoint; how many lines that was. Comes before anything is added.

        Args:
            done: Optimizer steps that the checkpoint holds. Metrics up to that step stay, and what was
                collected before: collections are numbered by the steps done when they began.
        """
        self._begin(done)
        gone = lines.cut(self.metrics_file, done + 1)
        return gone + lines.cut(self.rollouts_file, done) + lines.cut(self.credit_file, done)

    def running(self, step: int, message: str = "") -> None:
        """Says how many optimizer steps are done, and what it does now."""
        self._step = step
        self._tell("running", message)

    def end(self, state: State, message: str = "") -> None:
        """Says that it is `done`, `stopped` or `failed`."""
        self._tell(state, message)

    def add_metrics(self, step: int, numbers: Mapping[str, Any]) -> dict[str, Any]:
        """Adds the numbers of a step; the line as it was written, without numbers that are not finite."""
        line = {"step": step, "time": round(time.time(), 3), **{k: _finite(v) for k, v in numbers.items()}}
        self._append("metrics", [json.dumps(line, ensure_ascii=False)])
        return line

    def add_rollouts(self, rollouts: Iterable[Rollout]) -> None:
        """Adds the rollouts of one collection."""
        self._append("rollouts", [each.to_json() for each in rollouts])

    def add_credits(self, credits: Iterable[RolloutCredit]) -> None:
        """Adds what they earned."""
        self._append("credit", [each.to_json() for each in credits])

    def close(self) -> None:
        """Gives the folder back."""
        for each in self._open.values():
            each.close()
        self._open.clear()
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._state in ("created", "running") and kind is not None:
            state: State = "stopped" if issubclass(kind, KeyboardInterrupt) else "failed"
            self._tell(state, f"{kind.__name__}: {error}"[:1000])
        self.close()

    def _begin(self, step: int) -> None:
        """Writes what a start decides; the configuration last, since it makes the folder a run."""
        for folder in (self.checkpoints, self.weights):
            folder.mkdir(exist_ok=True)
        self._step = step
        known = self.starts
        before = known[:-1] if self._begun else known
        self._begun = True
        start = environment.describe(self._config.seed, step, self._origin.told())
        starts = [*before, {**start, "id": self._known_as(known, start["time"])}]
        replace_json(self.path / STARTS, {"starts": starts})
        replace(self.path / CONFIG, dumps(self._config))

    def _known_as(self, starts: Sequence[Mapping[str, Any]], now: str) -> str:
        """An id that no other run has, whatever its name; carried from start to start."""
        made = sha256(f"{self.path.resolve()} {now}".encode()).hexdigest()[:_ID_DIGITS]
        return next((each["id"] for each in starts if "id" in each), made)

    def _append(self, name: str, added: Iterable[str]) -> None:
        if name not in self._open:
            self._open[name] = JsonLines(self.path / f"{name}.jsonl")
        self._open[name].append(added)

    def _tell(self, state: State, message: str) -> None:
        now = Status(state, self._step, self._config.optim.steps, os.getpid(), self._started, _now(), message)
        status.write(self.status_file, self._state, now)
        self._state = state


def _require_same(made: Config, now: Config) -> None:
    free = {*FREE, *({"optim.steps"} if made.optim.schedule.startswith("constant") else ())}
    # A service may have moved; whether there is one at all decides who answers.
    if made.task.reader_address and now.task.reader_address:
        free.add("task.reader_address")
    if key := differing(made, now, free):
        was, is_now = (flat(each.model_dump(mode="json")).get(key) for each in (made, now))
        message = f"{key} of run {now.folder} is {was!r} and cannot become {is_now!r}"
        raise make(InvalidInputError, "ANOTHER_CONFIG", message, key=key)


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
