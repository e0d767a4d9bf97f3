"""One process at a time works on a run; the kernel forgets the lock with the process, however it ends."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from memalpha.errors import BusyError, make

# A reader that asks `held` holds the file for a moment; a second process that trains holds it for good.
_TRIES, _PAUSE = 10, 0.05


class Lock:
    """A held lock."""

    def __init__(self, path: Path) -> None:
        """Takes it.

        Raises:
            BusyError: RUN_IN_USE; it names the process that has it.
        """
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        if not _taken(self._file):
            owner = os.read(self._file, 20).decode("ascii", "replace") or "unknown"
            os.close(self._file)
            message = f"run {path.parent} is in use by process {owner}; stop it, or choose another name"
            raise make(BusyError, "RUN_IN_USE", message, path=path.parent, pid=owner)
        os.ftruncate(self._file, 0)
        os.write(self._file, str(os.getpid()).encode())

    def release(self) -> None:
        """Gives it back."""
        os.close(self._file)


def held(path: Path) -> bool:
    """Whether some process holds the lock now."""
    try:
        file = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        return not _locked(file, fcntl.LOCK_SH)
    finally:
        os.close(file)


def owner(path: Path) -> int:
    """The process that holds the lock, by its id; 0 if none does, or it has not written it yet."""
    try:
        return int(path.read_text("ascii")) if held(path) else 0
    except ValueError:
        return 0


def within_reach(path: Path, pid: int) -> bool:
    """Whether a process of this machine and user that has the file open is called so here.

    The id in the file may be of another container or machine, or of one that is gone. Without /proc it is
    believed.
    """
    if not Path("/proc/self/fd").exists():
        return True
    open_files = Path(f"/proc/{pid}/fd")
    try:
        names = os.listdir(open_files)
    except OSError:
        return False
    return any(_same(open_files / name, path) for name in names)


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:  # closed meanwhile
        return False


def _taken(file: int) -> bool:
    for tries in range(_TRIES):
        if _locked(file, fcntl.LOCK_EX):
            return True
        time.sleep(_PAUSE * (tries < _TRIES - 1))
    return False


def _locked(file: int, how: int) -> bool:
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
