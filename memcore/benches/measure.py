"""Time and memory of one piece of work in this process.

Wall time is per step. CPU time is that of the whole process, so that a peer's own threads count.
"""

import itertools
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

# A round ends after this many steps or seconds, whichever is first.
_STEPS = 200
_SECONDS = 0.4


@dataclass(frozen=True)
class Round:
    """One turn: what each step took, in the row's unit, and CPU microseconds per step."""

    values: list[float]
    cpu: float | None


Turn = Callable[[], Round]


class Steps:
    """Calls `step(i)` with growing i, after `between(i)`, which is not timed. Values are times `scale`."""

    def __init__(
        self,
        step: Callable[[int], object],
        between: Callable[[int], object] | None = None,
        scale: float = 1.0,
    ) -> None:
        self._step = step
        self._between = between
        self._scale = scale
        self._numbers = itertools.count()
        self._per_round = self._calibrated()

    def __call__(self) -> Round:
        """One turn."""
        nanoseconds, cpu = self._apart() if self._between else self._together()
        scale = self._scale / 1e3
        return Round([value * scale for value in nanoseconds], cpu * scale / len(nanoseconds))

    def _calibrated(self) -> int:
        slowest_allowed = _SECONDS / 4
        times = []
        for _ in range(5):
            start = time.perf_counter()
            self._one(next(self._numbers))
            times.append(time.perf_counter() - start)
            if times[-1] > slowest_allowed:
                break
        return max(1, min(_STEPS, int(_SECONDS / statistics.median(times))))

    def _one(self, i: int) -> None:
        if self._between:
            self._between(i)
        self._step(i)

    def _together(self) -> tuple[list[int], int]:
        values = []
        cpu = time.process_time_ns()
        for i in itertools.islice(self._numbers, self._per_round):
            start = time.perf_counter_ns()
            self._step(i)
            values.append(time.perf_counter_ns() - start)
        return values, time.process_time_ns() - cpu

    def _apart(self) -> tuple[list[int], int]:
        assert self._between
        values = []
        used = 0
        for i in itertools.islice(self._numbers, self._per_round):
            self._between(i)
            cpu = time.process_time_ns()
            start = time.perf_counter_ns()
            self._step(i)
            values.append(time.perf_counter_ns() - start)
            used += time.process_time_ns() - cpu
        return values, used


def resident_mb() -> float | None:
    """Resident memory of this process; None where /proc does not tell."""
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    [line] = [line for line in status.read_text().splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) / 1024


def settle(seconds: float = 60.0) -> None:
    """Waits until background work has ended: until this process needs no CPU for a moment."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        before = time.process_time()
        time.sleep(0.2)
        if time.process_time() - before < 0.01:
            return
