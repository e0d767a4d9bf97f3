"""A job's process: started apart from the service, found again by a lock, stopped by signals.

The process inherits a locked file and keeps the lock for as long as it lives. So no process id is ever taken
for one that was given to somebody else since.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from memalpha_trainer.runs import lock

# The shell writes its process id, which is then the trainer's.
_SHIM = 'echo $$ >"$1" && shift && exec "$@"'
_PAUSE = 0.005


@dataclass(frozen=True, slots=True)
class JobProcess:
    """The process of a job, or the place of one, in the job's folder."""

    folder: Path

    @property
    def lock_file(self) -> Path:
        """Locked while the process lives; absent before it was started."""
        return self.folder / "process.lock"

    @property
    def launched(self) -> bool:
        """Whether it was started at some time."""
        return self.lock_file.exists()

    @property
    def alive(self) -> bool:
        """Whether it lives now."""
        return lock.held(self.lock_file)

    @property
    def pid(self) -> int:
        """Its id, whether it lives or not; 0 if it has not been written yet."""
        try:
            return int(self._pid_file.read_text())
        except (FileNotFoundError, ValueError):
            return 0

    @property
    def last_words(self) -> Path:
        """What it wrote to stderr."""
        return self.folder / "stderr.log"

    def launch(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        """Starts it in a session of its own, so that what ends the service does not end it."""
        draft = self.folder / ".process.lock"
        held = os.open(draft, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(held, fcntl.LOCK_EX)
            # Nobody sees the file before it is locked.
            draft.rename(self.lock_file)
            child = self._started(command, held)
        finally:
            os.close(held)
        while not self.pid and child.poll() is None:
            time.sleep(_PAUSE)
        return child

    def kill(self) -> None:
        """Ends it at once, with all processes of its group."""
        self.send(signal.SIGKILL)

    def send(self, number: signal.Signals) -> None:
        """Sends it a signal, if it lives; SIGKILL goes to all processes of its group."""
        pid = self.pid
        with suppress(ProcessLookupError):
            if pid and self.alive:
                os.killpg(pid, number) if number is signal.SIGKILL else os.kill(pid, number)

    def _started(self, command: Sequence[str], held: int) -> subprocess.Popen[bytes]:
        shell = ["/bin/sh", "-c", _SHIM, "sh", str(self._pid_file), *command]
        with (self.folder / "stdout.log").open("ab") as out, self.last_words.open("ab") as err:
            return subprocess.Popen(
                shell,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                pass_fds=(held,),
                start_new_session=True,
            )

    @property
    def _pid_file(self) -> Path:
        return self.folder / "process.pid"
