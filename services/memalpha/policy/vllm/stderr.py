"""What vLLM's processes write to standard error while they start: passed on, and the end of it remembered.

A process that does not come up says why there and nowhere else. Standard error belongs to the whole process,
and new ones inherit it: it is exchanged for a pipe until they have started, and a thread passes on what comes
out of the pipe for as long as anybody holds its other end.
"""

from __future__ import annotations

import os
import re
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_STDERR = 2
_LINES = 400
# Processes that failed are gone soon; what they left in the pipe is read by then.
_LAST_SECONDS = 2.0
# An exception at the end of a traceback, behind whatever logging puts before it.
_ERROR = re.compile(r"(?:^|\s)((?:[a-z_]\w*\.)*[A-Z]\w*(?:Error|Exception): .*)")
# How a process says that another one failed.
_HEARSAY = "root cause"
_LONGEST = 300

# One exchange at a time: a second one would put back the first one's pipe.
_alone = threading.Lock()


class Heard:
    """The last lines that were written."""

    def __init__(self) -> None:
        """Nothing so far."""
        self._lines: deque[str] = deque(maxlen=_LINES)
        self._over = threading.Event()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Hears this process, and whichever it starts meanwhile."""
        with _alone:
            kept, (source, sink) = os.dup(_STDERR), os.pipe()
            threading.Thread(target=self._pass_on, args=(source, os.dup(kept)), daemon=True).start()
            os.dup2(sink, _STDERR)
            os.close(sink)
            try:
                yield
            finally:
                os.dup2(kept, _STDERR)
                os.close(kept)

    def cause(self) -> str:
        """The first exception that was told of, else the last line; empty if there was none."""
        self._over.wait(_LAST_SECONDS)
        lines = [line.strip() for line in list(self._lines) if line.strip()]
        errors = [found[1] for line in lines if (found := _ERROR.search(line)) and _HEARSAY not in line]
        return (errors[0] if errors else lines[-1] if lines else "")[:_LONGEST]

    def _pass_on(self, source: int, target: int) -> None:
        with os.fdopen(source, "rb", buffering=0) as pipe, os.fdopen(target, "wb", buffering=0) as out:
            rest = b""
            while data := pipe.read(65536):
                with suppress(OSError):  # that nobody reads there does not stop those who write
                    out.write(data)
                *lines, rest = (rest + data).split(b"\n")
                self._lines.extend(line.decode(errors="replace") for line in lines)
            self._lines.append(rest.decode(errors="replace"))
        self._over.set()
