"""One process at a time works on a run; the kernel forgets the lock with the process, however it ends."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from memalpha.errors import BusyError, make


class Lock:
    """A held lock."""

    def __init__(self, path: Path) -> None:
        """Takes it.

        Raises:
            BusyError: RUN_IN_USE; it names the process that has it.
        """
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(self._file, 20).decode("ascii", "replace") or "unknown"
            os.close(self._file)
            message = f"run {path.parent} is in use by process {owner}; stop it, or choose another folder"
            raise make(BusyError, "RUN_IN_USE", message, path=path.parent, pid=owner) from None
        os.ftruncate(self._file, 0)
        os.write(self._file, str(os.getpid()).encode())

    def release(self) -> None:
        """Gives it back."""
        os.close(self._file)
