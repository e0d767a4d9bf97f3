"""Runs groups of rows: one worker process each, which take turns, so that a noisy machine harms all alike.

A number is the median over rounds of each round's quantile.
"""

import multiprocessing
import pickle
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import workload
from measure import Round
from rows import Row
from worker import Absent, Loaded, main

_LOAD_SECONDS = 400


@dataclass(frozen=True)
class Result:
    """A row as measured; without numbers if it says why."""

    row: Row
    absent: str = ""
    loaded: Loaded | None = None
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    cpu: float | None = None
    samples: int = 0


@dataclass(frozen=True)
class _Turns:
    row: Row
    loaded: Loaded
    connection: Connection
    rounds: list[Round]

    def take(self) -> None:
        self.connection.send(True)
        self.rounds.append(self.connection.recv())

    def result(self) -> Result:
        def quantile(share: float) -> float:
            values = (sorted(turn.values) for turn in self.rounds)
            return statistics.median(ordered[int(share * (len(ordered) - 1))] for ordered in values)

        used = [turn.cpu for turn in self.rounds if turn.cpu is not None]
        return Result(
            self.row,
            loaded=self.loaded,
            p50=quantile(0.5),
            p95=quantile(0.95),
            p99=quantile(0.99),
            cpu=statistics.median(used) if used else None,
            samples=sum(len(turn.values) for turn in self.rounds),
        )


def run(groups: Sequence[Sequence[Row]], rounds: int, report: Callable[[str], None]) -> list[Result]:
    """All results in order of rows."""
    results: list[Result] = []
    # Not /tmp, which may be RAM: what is synced must reach a disk.
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".bench-") as directory:
        shared = _Workloads(Path(directory))
        for number, group in enumerate(groups):
            here = Path(directory) / f"group{number}"
            here.mkdir()
            results += _run_group(group, rounds, here, shared, report)
    return results


class _Workloads:
    """Each workload is made once, and read by the workers."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def path(self, row: Row) -> Path:
        size = row.held or 1_000
        path = self._directory / f"workload-{size}-{row.vectors}"
        if not path.exists():
            path.write_bytes(pickle.dumps(workload.make(size, vectors=row.vectors)))
        return path


def _run_group(
    group: Sequence[Row], rounds: int, directory: Path, shared: _Workloads, report: Callable[[str], None]
) -> list[Result]:
    with ExitStack() as stack:
        results: list[Result | _Turns] = []
        for number, row in enumerate(group):
            report(f"loading {row.name}")
            results.append(stack.enter_context(_worker(row, directory / str(number), shared)))
        turns = [entry for entry in results if isinstance(entry, _Turns)]
        report(f"timing {group[0].work}, {group[0].held:,} held")
        for number in range(rounds):
            for entry in turns:
                if number < entry.row.rounds:
                    entry.take()
        return [entry.result() if isinstance(entry, _Turns) else entry for entry in results]


@contextmanager
def _worker(row: Row, directory: Path, shared: _Workloads) -> Iterator[Result | _Turns]:
    if row.left_out:
        yield Result(row, row.left_out)
        return
    directory.mkdir()
    context = multiprocessing.get_context("spawn")
    connection, theirs = context.Pipe()
    process = context.Process(target=main, args=(theirs, row, directory, shared.path(row)))
    process.start()
    theirs.close()
    try:
        yield _started(row, connection)
        connection.send(False)
        process.join(10)
    except BrokenPipeError:
        pass
    finally:
        process.kill()
        process.join()


def _started(row: Row, connection: Connection) -> Result | _Turns:
    if not connection.poll(_LOAD_SECONDS):
        return Result(row, f"failed: not loaded within {_LOAD_SECONDS} s")
    try:
        first = connection.recv()
    except EOFError:
        return Result(row, "failed: see above")
    return Result(row, first.reason) if isinstance(first, Absent) else _Turns(row, first, connection, [])
