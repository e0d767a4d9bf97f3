"""A job as its folder tells it: what was asked for, what its process and its run say, and so where it stands.

ID/config.toml, status.json, metrics.jsonl …   the run's, written by the trainer
ID/job/job.json      what was asked for; makes the folder a job
ID/job/config.toml   what the trainer is started with
ID/job/cancel.json   when it was asked to stop
ID/job/process.*     the process, with stderr.log and stdout.log
ID/job/events.jsonl  what was noticed, for `watch`
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Literal

from memalpha.errors import AlreadyExistsError, CorruptionError, make
from memalpha_trainer.config import Config, resolve
from memalpha_trainer.runs import lock
from memalpha_trainer.runs.files import replace, replace_json
from memalpha_trainer.runs.reading import CONFIG, RunFiles
from memalpha_trainer.runs.status import Status
from memalpha_trainer.runs.toml import dumps
from memalpha_trainer.service.processes import JobProcess

JobState = Literal["pending", "running", "succeeded", "failed", "cancelled"]
ENDED: tuple[JobState, ...] = ("succeeded", "failed", "cancelled")
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
        """Whether it will do nothing more."""
        return self.state in ENDED


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
            AlreadyExistsError: RUN_EXISTS, if there is a run that is no job.
        """
        if (config.folder / CONFIG).exists():
            message = f"run {config.folder} exists and is no job: choose another id"
            raise make(AlreadyExistsError, "RUN_EXISTS", message, path=config.folder)
        folder = config.folder / "job"
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
        """When it was asked to stop."""
        try:
            return datetime.fromisoformat(json.loads((self.folder / "cancel.json").read_bytes())["time"])
        except FileNotFoundError:
            return None

    def cancel(self, now: datetime) -> None:
        """Notes that it was asked to stop."""
        replace_json(self.folder / "cancel.json", {"time": now.isoformat()})

    def look(self) -> Standing:
        """Where it stands now."""
        alive = self.process.alive or lock.held(self.run.lock_file)
        # What a dead process wrote is its last word; so this comes after the look at the process.
        status = self._status()
        step = status.step if status else 0
        if alive:
            begun = status is not None and status.state != "created"
            return Standing("running" if begun else "pending", step, status.message if status else "starting")
        if not self.process.launched:
            return Standing("cancelled" if self.cancelled else "pending", message="waiting for a place")
        return self._ended(status, step)

    def _ended(self, status: Status | None, step: int) -> Standing:
        state = status.state if status else "died"
        if state == "done":
            return Standing("succeeded", step)
        if state == "stopped" or self.cancelled:
            return Standing("cancelled", step, status.message if status else "killed before it began")
        reason = status.message if status and state == "failed" else "its process is gone without a word"
        return Standing("failed", step, reason, f"{reason}\n{tail(self.process.last_words)}".strip())

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
