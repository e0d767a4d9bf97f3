"""A job as its folder tells it: what was asked for, what its process and its run say, and so where it stands.

A job has one process of its own. Its run may be taken up again by another, by hand; what was asked of one of
them says nothing of the other.

ID/config.toml, status.json, metrics.jsonl …   the run's, written by the trainer
ID/job/job.json      what was asked for; makes the folder a job
ID/job/config.toml   what the trainer is started with
ID/job/cancel.json   when it was last asked to stop, and which process
ID/job/process.*     the process, with stderr.log and stdout.log
ID/job/events.jsonl  what was noticed, for `watch`
"""

from __future__ import annotations

import json
import os
import signal
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Literal

from memalpha.errors import AlreadyExistsError, ConflictError, CorruptionError, make
from memalpha.files import replace, replace_json
from memalpha_trainer.config import Config, resolve
from memalpha_trainer.runs import lock
from memalpha_trainer.runs.reading import CONFIG, RunFiles
from memalpha_trainer.runs.status import Status
from memalpha_trainer.runs.toml import dumps
from memalpha_trainer.service.processes import JobProcess

JobState = Literal["pending", "running", "succeeded", "failed", "cancelled"]
ENDED: tuple[JobState, ...] = ("succeeded", "failed", "cancelled")
EVENTS = "events.jsonl"
_LAST_LINES = 20
_LAST_BYTES = 4000


@dataclass(frozen=True, slots=True)
class Record:
    """What was asked for.

    Attributes:
        request_id: Of the call that made it; empty if it had none.
        created: ISO 8601, UTC.
        digest: Of the whole configuration but for name and folder, to tell a repeated call from another.
    """

    job_id: str
    request_id: str
    created: str
    digest: str


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a job stands.

    Attributes:
        step: Optimizer steps done.
        message: For people.
        error: Why it failed; empty if it did not.
    """

    state: JobState
    step: int = 0
    message: str = ""
    error: str = ""

    @property
    def ended(self) -> bool:
        """Whether it does nothing more, unless its run is taken up again by hand."""
        return self.state in ENDED


@dataclass(frozen=True, slots=True)
class _Cancellation:
    """When which process was asked to stop; 0 if none had been started."""

    time: datetime
    pid: int


class Job:
    """One job of a service."""

    def __init__(self, path: Path) -> None:
        """Over the folder of a job that was made.

        Raises:
            CorruptionError: DAMAGED_JOB.
        """
        self.run = RunFiles(path)
        self.folder = path / "job"
        self.process = JobProcess(self.folder)
        self.record = _read(self.folder / "job.json")
        self.config = resolve(self.config_file)

    @classmethod
    def create(cls, config: Config, request_id: str, now: datetime) -> Job:
        """Makes the folder of a job, which is its run's.

        Raises:
            AlreadyExistsError: RUN_EXISTS, if there is a run that is no job, or what is left of a run or job.
        """
        folder = config.folder / "job"
        run = RunFiles(config.folder)
        kept = (run.path / CONFIG, run.status_file, run.metrics_file, run.rollouts_file, run.credit_file)
        left = (*kept, run.checkpoints, run.weights, folder / EVENTS)
        if any(each.exists() for each in left) or JobProcess(folder).launched:
            message = f"run {config.folder}, or what is left of it, exists and is no job: choose another id"
            raise make(AlreadyExistsError, "RUN_EXISTS", message, path=config.folder)
        folder.mkdir(parents=True, exist_ok=True)
        record = Record(config.name, request_id, now.isoformat(timespec="microseconds"), digest(config))
        replace(folder / CONFIG, dumps(config))
        replace_json(folder / "job.json", asdict(record))
        return cls(config.folder)

    @property
    def config_file(self) -> Path:
        """What the trainer is started with."""
        return self.folder / CONFIG

    @property
    def cancelled(self) -> datetime | None:
        """When it was last asked to stop."""
        return noted.time if (noted := self._cancellation()) else None

    @property
    def stopping(self) -> datetime | None:
        """When the process that works on it was asked to stop; None if that one was not."""
        pid = self.worker
        noted = self._asked(pid, self._status()) if pid else None
        return noted.time if noted else None

    @property
    def worker(self) -> int:
        """The process that works on it, its own or one that took up its run again; 0 if none does."""
        return self.process.pid if self.process.alive else lock.owner(self.run.lock_file)

    @property
    def has_begun(self) -> bool:
        """Whether somebody works on its run, or left a word of it."""
        return lock.held(self.run.lock_file) or self._status() is not None

    def cancel(self, now: datetime) -> None:
        """Asks whoever works on it to stop as Ctrl-C does, and notes that.

        Raises:
            ConflictError: JOB_OUT_OF_REACH; it names the process.
        """
        pid = self.worker
        if not self.process.alive and lock.held(self.run.lock_file):
            self._require_reach(pid)
        replace_json(self.folder / "cancel.json", {"time": now.isoformat(), "pid": pid})
        self._signal(pid, signal.SIGINT)

    def kill(self) -> None:
        """Ends whoever works on it at once."""
        self._signal(self.worker, signal.SIGKILL)

    def look(self) -> Standing:
        """Where it stands now."""
        alive = self.process.alive or lock.held(self.run.lock_file)
        # What a dead process wrote is its last word; so this comes after the look at the process.
        status = self._status()
        step = status.step if status else 0
        if alive:
            begun = status is not None and status.state != "created"
            return Standing("running" if begun else "pending", step, status.message if status else "starting")
        if status is None and not self.process.launched:
            return Standing("cancelled" if self.cancelled else "pending", message="waiting for a place")
        return self._ended(status, step)

    def _ended(self, status: Status | None, step: int) -> Standing:
        state = status.state if status else "died"
        if state == "done":
            return Standing("succeeded", step)
        asked = self._asked(status.pid, status) if status else self._cancellation()
        if state == "stopped" or asked:
            return Standing("cancelled", step, status.message if status else "killed before it began")
        reason = status.message if status and state == "failed" else "its process is gone without a word"
        # Who took it up again wrote elsewhere.
        words = tail(self.process.last_words) if status is None or status.pid == self.process.pid else ""
        return Standing("failed", step, reason, f"{reason}\n{words}".strip())

    def _asked(self, pid: int, status: Status | None) -> _Cancellation | None:
        """What was asked of a process, if anything was, and not of one that had its id before.

        Ids of processes come again, after a restart of the machine soon.
        """
        noted = self._cancellation()
        if noted is None or noted.pid != pid:
            return None
        is_later = status is not None and datetime.fromisoformat(status.started) > noted.time
        # Its own process is known by its lock.
        return None if is_later and pid != self.process.pid else noted

    def _signal(self, pid: int, number: signal.Signals) -> None:
        if self.process.alive:
            self.process.send(number)
        elif pid and lock.within_reach(self.run.lock_file, pid):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def _require_reach(self, pid: int) -> None:
        if not lock.within_reach(self.run.lock_file, pid):
            message = (
                f"the run of job {self.record.job_id} was taken up again by process {pid or 'unknown'}, which"
                " cannot be signalled from here: stop it where it was started"
            )
            raise make(ConflictError, "JOB_OUT_OF_REACH", message, job_id=self.record.job_id, pid=pid)

    def _cancellation(self) -> _Cancellation | None:
        try:
            noted = json.loads((self.folder / "cancel.json").read_bytes())
        except FileNotFoundError:
            return None
        return _Cancellation(datetime.fromisoformat(noted["time"]), noted.get("pid", self.process.pid))

    def _status(self) -> Status | None:
        try:
            return self.run.status()
        except CorruptionError:
            return None


def digest(config: Config) -> str:
    """Of a configuration, whatever its run is called and wherever it stands."""
    settings = config.model_dump(mode="json", exclude={"name", "out"})
    return sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def is_job(path: Path) -> bool:
    """Whether a folder holds a job."""
    return (path / "job" / "job.json").is_file()


def tail(file: Path) -> str:
    """The last lines of a file; nothing if there is none."""
    if not file.exists():
        return ""
    with file.open("rb") as read:
        read.seek(max(0, read.seek(0, os.SEEK_END) - _LAST_BYTES))
        lines = read.read().decode("utf-8", "replace").splitlines()
    return "\n".join(lines[-_LAST_LINES:])


def _read(path: Path) -> Record:
    try:
        return Record(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError) as error:
        raise make(CorruptionError, "DAMAGED_JOB", f"{path} tells no job: {error}", path=path) from None
