"""The jobs of one folder: made, started in their order, watched, stopped.

One service at a time works on a folder. `tick` is its clock: it notices what happened, starts what waits
while there are places, and kills what was asked to stop and did not. Everything else answers from files.

A job whose folder was deleted is forgotten. Its process is killed: it could save nothing, and would write
into the folder of a new job of that id. One that took up its run by hand is not the service's to kill so.
"""

from __future__ import annotations

import re
import subprocess
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from memalpha.errors import (
    AlreadyExistsError,
    BusyError,
    ConflictError,
    InvalidInputError,
    NotFoundError,
    make,
)
from memalpha.files import sync
from memalpha_trainer.config import Config
from memalpha_trainer.runs import lock
from memalpha_trainer.runs.lock import Lock
from memalpha_trainer.service.events import Clock, Event, EventLog
from memalpha_trainer.service.jobs import Job, Standing, digest, is_job

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_MOST_REQUEST_BYTES = 128


@dataclass(frozen=True, slots=True)
class View:
    """A job as it stands."""

    job: Job
    standing: Standing
    ended: datetime | None


@dataclass(frozen=True, slots=True)
class Limits:
    """What a service allows.

    Attributes:
        places: Jobs that work at once; the others wait.
        grace_seconds: Time for a job that was asked to stop, until it is killed. Training stops only between
            two collections.
    """

    places: int = 1
    grace_seconds: float = 600.0


class JobManager:
    """Keeps jobs; safe to use from many threads."""

    def __init__(
        self,
        root: Path,
        command: Sequence[str],
        limits: Limits | None = None,
        clock: Clock = lambda: datetime.now(UTC),
    ) -> None:
        """Takes the folder and finds the jobs in it.

        Args:
            root: Folder of runs; made if need be.
            command: Starts the trainer, but for `--config FILE`.
            limits: None means the defaults.
            clock: Tells the time in UTC.

        Raises:
            BusyError: FOLDER_IN_USE: another service works on the folder.
            CorruptionError: DAMAGED_JOB.
        """
        self.root = root.resolve()
        self._command = list(command)
        self._limits = limits or Limits()
        self._clock = clock
        self._busy = threading.RLock()
        self.root.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(self.root)
        self._children: list[subprocess.Popen[bytes]] = []
        try:
            self._jobs = {path.name: Job(path) for path in sorted(self.root.iterdir()) if is_job(path)}
            self._logs = {name: EventLog(job, clock) for name, job in self._jobs.items()}
        except BaseException:
            self._lock.release()
            raise

    def close(self) -> None:
        """Gives the folder back; jobs work on."""
        with self._busy:
            for name, job in self._jobs.items():
                self._logs[name].close()
                job.process.close()
            for child in self._children:
                # Whoever still works does so without us, and Popen need not warn of it.
                child.returncode = child.poll() or 0
            self._lock.release()

    def create(self, config: Config, request_id: str = "") -> View:
        """Makes a job, or finds the one that the same call made before.

        Args:
            config: Of the run; its name is the job's id, its folder is below the root.
            request_id: Names the call; empty if it is not to be recognised by that.

        Raises:
            AlreadyExistsError: JOB_EXISTS: the id is another job's, or RUN_EXISTS.
            ConflictError: REQUEST_ID_REUSED: the call of that name asked for something else.
            InvalidInputError: INVALID_REQUEST_ID.
        """
        _check_request_id(request_id)
        with self._busy:
            known = self._known(config, request_id)
            job = known or Job.create(config, request_id, self._clock())
            if known is None:
                sync(self.root)
                self._jobs[config.name] = job
                self._logs[config.name] = EventLog(job, self._clock)
            return self._view(job)

    def fresh_id(self) -> str:
        """An id that no job has; ids sort by time."""
        return f"job-{self._clock():%Y%m%d-%H%M%S}-{uuid4().hex[:8]}"

    def get(self, job_id: str) -> View:
        """A job as it stands.

        Raises:
            NotFoundError: NO_JOB.
        """
        with self._busy:
            return self._view(self._job(job_id))

    def list(self) -> list[View]:
        """All jobs, newest first."""
        with self._busy:
            return [self._view(job) for job in reversed(self._in_order())]

    def cancel(self, job_id: str) -> View:
        """Asks a job to stop; nothing happens to one that has ended, or whose process was asked before.

        Raises:
            NotFoundError: NO_JOB.
            ConflictError: JOB_OUT_OF_REACH: its run was taken up again by a process that cannot be signalled.
        """
        with self._busy:
            job = self._job(job_id)
            if not self._logs[job_id].notice().ended and job.stopping is None:
                job.cancel(self._clock())
            return self._view(job)

    def events(self, job_id: str, start: int) -> tuple[list[Event], bool]:
        """Events of a job from a number on, and whether there will be no more.

        Raises:
            NotFoundError: NO_JOB.
        """
        with self._busy:
            self._job(job_id)
            log = self._logs[job_id]
            log.notice()
            return log.events[max(start - 1, 0) :], log.ended is not None

    def tick(self) -> None:
        """Notices, starts and kills. Called again and again."""
        with self._busy:
            self._children = [child for child in self._children if child.poll() is None]
            going = [job for job in self._in_order() if self._goes_on(job)]
            self._kill_overdue(going)
            self._start(going)

    def _goes_on(self, job: Job) -> bool:
        """Notices what happened to it; whether something may yet: it has not ended, or was taken up again."""
        log = self._logs[job.record.job_id]
        if log.ended is not None and not lock.held(job.run.lock_file):
            return False
        try:
            return not log.notice().ended
        except FileNotFoundError:  # its folder is being deleted; another tick forgets it
            return False

    def _start(self, going: list[Job]) -> None:
        waiting = [job for job in going if not _is_begun(job)]
        free = self._limits.places - (len(going) - len(waiting))
        for job in waiting[: max(free, 0)]:
            command = [*self._command, "--config", str(job.config_file)]
            with suppress(FileNotFoundError):  # as above
                self._children.append(job.process.launch(command))

    def _kill_overdue(self, going: list[Job]) -> None:
        for job in going:
            asked = job.stopping
            if asked is not None and (self._clock() - asked).total_seconds() >= self._limits.grace_seconds:
                job.kill()

    def _known(self, config: Config, request_id: str) -> Job | None:
        """The job that the same call made before."""
        jobs = self._in_order()
        repeated = [job for job in jobs if request_id and job.record.request_id == request_id]
        found = repeated[0] if repeated else self._jobs.get(config.name)
        if found is None or found.record.digest == digest(config):
            return found
        if repeated:
            message = f"request_id {request_id} made job {found.record.job_id} with another configuration"
            raise make(ConflictError, "REQUEST_ID_REUSED", message, request_id=request_id)
        message = f"job {config.name} exists with another configuration: choose another id"
        raise make(AlreadyExistsError, "JOB_EXISTS", message, job_id=config.name)

    def _view(self, job: Job) -> View:
        log = self._logs[job.record.job_id]
        return View(job, log.notice(), log.ended)

    def _job(self, job_id: str) -> Job:
        if not self._has(job_id):
            raise make(NotFoundError, "NO_JOB", f"there is no job {job_id!r:.120}", job_id=job_id)
        return self._jobs[job_id]

    def _has(self, job_id: str) -> bool:
        """Whether there is such a job. Forgets one whose folder was deleted, and kills what works on it."""
        if job_id not in self._jobs or is_job(self._jobs[job_id].run.path):
            return job_id in self._jobs
        job = self._jobs.pop(job_id)
        self._logs.pop(job_id).close()
        job.process.kill()
        job.process.close()
        return False

    def _in_order(self) -> list[Job]:
        """Oldest first."""
        jobs = [self._jobs[job_id] for job_id in list(self._jobs) if self._has(job_id)]
        return sorted(jobs, key=lambda job: (job.record.created, job.record.job_id))


def _is_begun(job: Job) -> bool:
    """Whether it was started, by the service or by hand; two processes would work on one run."""
    return job.process.launched or lock.held(job.run.lock_file)


def _locked(root: Path) -> Lock:
    try:
        return Lock(root / ".service.lock")
    except BusyError as busy:
        message = f"another service, process {busy.metadata['pid']}, works on {root}: stop it first"
        raise make(BusyError, "FOLDER_IN_USE", message, path=root, pid=busy.metadata["pid"]) from None


def check_id(job_id: str) -> None:
    """Refuses what is no id.

    Raises:
        InvalidInputError: INVALID_JOB_ID.
    """
    if not _ID.fullmatch(job_id):
        rule = "must be 1 to 100 letters, digits, dots, dashes and underscores, the first a letter or digit"
        message = f"job_id {rule}, not {job_id!r:.120}"
        raise make(InvalidInputError, "INVALID_JOB_ID", message, job_id=job_id)


def _check_request_id(request_id: str) -> None:
    if len(request_id.encode()) > _MOST_REQUEST_BYTES:
        message = f"request_id must have at most {_MOST_REQUEST_BYTES} bytes, not {len(request_id.encode())}"
        raise make(InvalidInputError, "INVALID_REQUEST_ID", message)
