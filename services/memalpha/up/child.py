"""One service as a child process: started in a process group of its own, its output kept, ended for certain.

The child's standard input is a pipe that nobody writes to; it closes when this process is gone, however it
died, and the child follows (`memalpha.services.launched`). Whatever the child prints goes to its log file as
it is, to the listener line by line, and its last lines are kept to explain its end.
"""

import asyncio
import os
import signal
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from io import FileIO
from pathlib import Path

from memalpha.services.launched import VARIABLE

_LAST_LINES = 20


def command(name: str) -> list[str]:
    """How a service is started; `-P` keeps the working directory's files from being imported."""
    return [sys.executable, "-P", "-m", "memalpha", "serve", name]


def open_log(path: Path) -> FileIO:
    """Opens a log for adding to it, readable by its owner alone."""
    return open(path, "ab", buffering=0, opener=lambda name, flags: os.open(name, flags, 0o600))


class Child:
    """A running service."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        """Use `start`."""
        self.name = name
        self.log = log
        self.last_lines: deque[str] = deque(maxlen=_LAST_LINES)
        self._process = process
        self._ended: asyncio.Task[int]

    @classmethod
    async def start(
        cls, name: str, environment: dict[str, str], log: FileIO, on_line: Callable[[str, str], None]
    ) -> "Child":
        """Starts `memalpha serve NAME` with more environment variables; `on_line` gets name and line.

        The log is closed when the service has ended.
        """
        process = await asyncio.create_subprocess_exec(
            *command(name),
            env={**os.environ, **environment, VARIABLE: "1"},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            process_group=0,
        )
        child = cls(name, process, Path(str(log.name)))
        child._ended = asyncio.create_task(child._keep_output(log, on_line))
        return child

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def exit_status(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs."""
        return self._ended.result() if self._ended.done() else None

    def on_end(self, listener: Callable[["Child"], None]) -> None:
        """Calls the listener once it has ended and all it printed is kept."""
        self._ended.add_done_callback(lambda _: listener(self))

    async def ended(self) -> int:
        """Waits until it has ended and all it printed is kept; returns its exit status."""
        return await asyncio.shield(self._ended)

    async def stop(self, seconds: float) -> None:
        """Asks it to stop, and kills it and all that it started if it still runs after some seconds."""
        with suppress(ProcessLookupError):
            # It alone: what it started is its own to end.
            os.kill(self.pid, signal.SIGTERM)
        await asyncio.wait({self._ended}, timeout=seconds)
        self.kill()
        await self.ended()

    def kill(self) -> None:
        """Kills it and all that it started, at once."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    async def _keep_output(self, log: FileIO, on_line: Callable[[str, str], None]) -> int:
        assert self._process.stdout is not None
        with log:
            async for line in _lines(self._process.stdout, log):
                self.last_lines.append(line)
                on_line(self.name, line)
        return await self._process.wait()


async def _lines(stream: asyncio.StreamReader, log: FileIO) -> AsyncIterator[str]:
    """The lines of a stream, however long they are, while the bytes go to the log."""
    rest = b""
    while data := await stream.read(65536):
        with suppress(OSError):  # a full disk costs log lines; the services and their readers go on
            log.write(data)
        *whole, rest = (rest + data).split(b"\n")
        for line in whole:
            yield line.decode(errors="replace")
    if rest:
        yield rest.decode(errors="replace")
