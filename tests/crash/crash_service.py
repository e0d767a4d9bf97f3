"""The memory service under test, which kills itself on schedule and is started again at once.

A life of the service is one process. Each life but the last is armed with one kill: a point, and at which
time of reaching it. All lives share one directory and one address, as a restarted service does.
"""

import random
import signal
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from memalpha.up.ports import free_port

ROOT = Path(__file__).parents[2]
BINARY = ROOT / "target" / "release" / "memcore-sim"

TIMES = (1, 2, 4, 7)
# Opening a store takes eight syncs, so that these hit the opening as well as the writes after it.
SYNC_TIMES = (1, 3, 6, 9, 11, 13, 16, 20)
# Seals take many writes each.
BUNDLE_TIMES = (1, 2)
# A seal after few memories.
SEALS = ("--seal-from", "3")


@dataclass(frozen=True)
class Kill:
    """Death at the `nth` time that a life reaches `point`."""

    point: str
    nth: int


def every_kill(disk: str, seed: int) -> list[Kill]:
    """Each point that a service on `disk` passes, at each of its times, in an order given by `seed`."""
    command = [BINARY, "points", "--vfs", disk]
    points = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert len(points) >= 12
    times = {point: _times(point) for point in points}
    kills = [Kill(point, nth) for point in points for nth in times[point]]
    random.Random(seed).shuffle(kills)
    return kills


def _times(point: str) -> tuple[int, ...]:
    if point.endswith("_bundle"):
        return BUNDLE_TIMES
    return SYNC_TIMES if point.endswith("_sync") else TIMES


def free_address() -> str:
    """A loopback address that nobody listens on, and that no outgoing connection takes."""
    return f"127.0.0.1:{free_port('127.0.0.1')}"


class Service:
    """Serves `directory` at `address` until closed, in one life for each kill and one more.

    `complaint` says so if a life ended otherwise than planned; then there is no other.
    """

    def __init__(self, directory: Path, *options: str, kills: Sequence[Kill] = ()) -> None:
        self.address = free_address()
        self.deaths: list[Kill] = []
        serve = [str(BINARY), "serve", "--data", str(directory), "--address", self.address]
        self._command = [*serve, *SEALS, *options]
        self._schedule = list(kills)
        self._changed = threading.Lock()
        self._closed = False
        self.complaint = ""
        self._process = self._start()
        self._keeper = threading.Thread(target=self._keep, daemon=True)

    @property
    def kills_left(self) -> int:
        """Kills of the schedule that did not happen yet."""
        return len(self._schedule) - len(self.deaths)

    def __enter__(self) -> Self:
        self._keeper.start()
        return self

    def __exit__(self, *exception: object) -> None:
        with self._changed:
            self._closed = True
            self._process.kill()
        self._keeper.join()
        assert exception[0] or not self.complaint, self.complaint

    def _start(self) -> subprocess.Popen[str]:
        kill = self._schedule[len(self.deaths)] if self.kills_left else None
        armed = ["--crash-at", f"{kill.point}:{kill.nth}"] if kill else []
        return subprocess.Popen(
            [*self._command, *armed], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )

    def _keep(self) -> None:
        while self._lived_as_planned():
            with self._changed:
                if self._closed:
                    return
                self._process = self._start()

    def _lived_as_planned(self) -> bool:
        process = self._process
        _, complaint = process.communicate()
        with self._changed:
            if self._closed:
                return False
            if process.returncode == -signal.SIGKILL and self.kills_left:
                self.deaths.append(self._schedule[len(self.deaths)])
                return True
            self.complaint = f"the service ended with {process.returncode} after {self.deaths}: {complaint}"
            return False
