"""A job's process: started apart from the service, found again by a lock, stopped by signals.

The process inherits a locked file and keeps the lock for as long as it lives. So no process id is ever taken
for one that was given to somebody else since, and a process is known though its job's folder was deleted.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

# The shell writes its process id, which is then the trainer's.
_SHIM = 'echo $$ >"$1" && shift && exec "$@"'
_PAUSE = 0.005


class JobProcess:
    """The process of a job, or the place of one, in the job's folder.

    Once seen alive it is known by its lock, which stays open, and its id, whatever becomes of the folder.
    """

    def __init__(self, folder: Path) -> None:
        """In a job's folder."""
        self.folder = folder
        self._lock: int | None = None
        self._pid = 0

    @property
    def lock_file(self) -> Path:
        """Locked while the process lives; absent before it was started."""
        return self.folder / "process.lock"

    @property
    def launched(self) -> bool:
        """Whether it was started at some time."""
        return bool(self._pid) or self.lock_file.exists()

    @property
    def alive(self) -> bool:
        """Whether it lives now."""
        if self._lock is None:
            try:
                self._lock = os.open(self.lock_file, os.O_RDONLY)
            except FileNotFoundError:
                return False
        try:
            fcntl.flock(self._lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            self._pid = self.pid
            return True
        self.close()
        return False

    @property
    def pid(self) -> int:
        """Its id, whether it lives or not; 0 if it has not been written yet."""
        try:
            return int(self._pid_file.read_text())
        except (FileNotFoundError, ValueError):
            return self._pid

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
        while self.alive and not self._pid:
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

    def close(self) -> None:
        """Closes its lock; it works on, and is found again by the folder."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

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
