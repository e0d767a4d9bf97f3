"""Measures memcore beside its peers and writes docs/benchmarks/DATE.json.

Every figure is the median of several rounds in which all rows take turns, so that a noisy machine harms all
alike; compare rows of one run. `rebuilt` is how the Mem-alpha reference searches: it tokenizes all
memories and makes rank_bm25's index anew for each query. Each row's result is checked before it is timed.
"""

import argparse
import datetime
import json
import os
import platform
import re
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import workload
from rank_bm25 import BM25Okapi
from rich.console import Console
from rich.table import Table

import memcore

_ROUNDS = 5
_OUT = Path(__file__).parents[2] / "docs" / "benchmarks"


@dataclass(frozen=True)
class Row:
    """One line of the table; times in microseconds."""

    work: str
    system: str
    p50: float
    p95: float
    p99: float
    samples: int
    target: float | None = None

    @property
    def verdict(self) -> str:
        """Whether the target is met."""
        if self.target is None:
            return ""
        return "met" if self.p50 <= self.target else "MISSED"


@dataclass
class Measured:
    """A thing to time: `step(i)` is called with growing i."""

    work: str
    system: str
    step: Callable[[int], object]
    per_round: int
    target: float | None = None

    def round(self, number: int) -> list[float]:
        """Microseconds of each step of one round."""
        times = []
        for i in range(number * self.per_round, (number + 1) * self.per_round):
            start = time.perf_counter_ns()
            self.step(i)
            times.append((time.perf_counter_ns() - start) / 1e3)
        return times


def _measure(things: list[Measured]) -> list[Row]:
    rounds: dict[int, list[list[float]]] = {n: [] for n in range(len(things))}
    for number in range(_ROUNDS):
        for n, thing in enumerate(things):
            rounds[n].append(thing.round(number))
    return [_row(thing, rounds[n]) for n, thing in enumerate(things)]


def _row(thing: Measured, rounds: list[list[float]]) -> Row:
    def median_of(quantile: float) -> float:
        return statistics.median(sorted(times)[int(quantile * (len(times) - 1))] for times in rounds)

    samples = sum(map(len, rounds))
    return Row(
        thing.work, thing.system, median_of(0.5), median_of(0.95), median_of(0.99), samples, thing.target
    )


def _filled(texts: list[str]) -> memcore.Bank:
    bank = memcore.Store.in_memory().create_bank("bench")
    for start in range(0, len(texts), 500):
        bank.apply([memcore.Insert("semantic", text) for text in texts[start : start + 500]])
    return bank


def _writes(size: int) -> list[Measured]:
    """A write into a volatile bank: searchable when the call returns."""
    data = workload.make(size + 5_000, 1, seed=2)
    bank = _filled(data.memories[:size])
    fresh = data.memories[size:]

    def write(i: int) -> None:
        bank.apply([memcore.Insert("semantic", f"{fresh[i]} probe{i}")])

    write(len(fresh) - 1)
    [hits] = bank.search([f"probe{len(fresh) - 1}"])
    assert len(hits) == 1, "what was written must be found at once"
    return [Measured(f"volatile write, searchable, {size:,} held", "memcore", write, 400, target=50.0)]


def _searches(size: int, target: float | None) -> list[Measured]:
    data = workload.make(size, 300)
    bank = _filled(data.memories)
    prebuilt = _rank_bm25(data.memories)

    def ours(i: int) -> object:
        return bank.search([data.queries[i % 300]], limit=10)

    def theirs(index: BM25Okapi, i: int) -> list[str]:
        return index.get_top_n(data.queries[i % 300].split(), data.memories, n=10)

    found = {hit.memory.content for hit in bank.search([data.queries[0]], limit=10)[0]}
    assert len(found & set(theirs(prebuilt, 0))) >= 5, "both must find much the same"
    work = f"BM25 top-10, six terms, {size:,} memories"
    return [
        Measured(work, "memcore, live after every write", ours, 200, target),
        Measured(work, "rank_bm25 0.2.2, built before", lambda i: theirs(prebuilt, i), 5),
        Measured(work, "rank_bm25 0.2.2, rebuilt", lambda i: theirs(_rank_bm25(data.memories), i), 1),
    ]


def _rank_bm25(texts: list[str]) -> BM25Okapi:
    return BM25Okapi([re.findall(r"\b\w+\b", text.lower()) for text in texts])


def _synced(directory: Path) -> list[Measured]:
    store = memcore.Store.open(directory / "store")
    bank = store.create_bank("bench")
    data = workload.make(10_000, 1, seed=3)
    writers = ThreadPoolExecutor(64)
    plain = os.open(directory / "plain", os.O_CREAT | os.O_WRONLY)

    def fdatasync(i: int) -> None:
        os.pwrite(plain, b"x" * 256, i * 256)
        os.fdatasync(plain)

    def one(i: int) -> None:
        bank.apply([memcore.Insert("semantic", f"{data.memories[i]} one{i}")])

    def write(text: str) -> None:
        bank.apply([memcore.Insert("semantic", text)])

    def many(i: int) -> None:
        list(writers.map(write, [f"{data.memories[n]} many{i}-{n}" for n in range(64)]))

    return [
        Measured("256 bytes to disk, synced", "write + fdatasync", fdatasync, 100),
        Measured("durable write, one writer", "memcore", one, 100),
        Measured("64 durable writes from 64 threads", "memcore", many, 10),
    ]


def _run() -> list[Row]:
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as directory:
        things = [*_writes(10_000), *_searches(1_000, None), *_searches(10_000, 100.0)]
        return _measure([*things, *_synced(Path(directory))])


def _table(rows: list[Row]) -> Table:
    table = Table(title="microseconds, median over rounds of each round's quantile")
    for name in ("work", "system", "p50", "p95", "p99", "target"):
        table.add_column(name, justify="left" if name in ("work", "system") else "right")
    for row in rows:
        target = f"≤ {row.target:g} {row.verdict}" if row.target is not None else ""
        table.add_row(row.work, row.system, f"{row.p50:,.1f}", f"{row.p95:,.1f}", f"{row.p99:,.1f}", target)
    return table


def _machine() -> dict[str, object]:
    model = next(
        (line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), ""
    )
    return {
        "cpu": model.partition(":")[2].strip() or platform.processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "memcore": version("memalpha-memcore"),
        "load_average": os.getloadavg(),
    }


def main() -> None:
    """Measures, prints the table and writes the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, help="JSON file; default docs/benchmarks/DATE.json")
    arguments = parser.parse_args()
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    out: Path = arguments.out or _OUT / f"{today}.json"
    rows = _run()
    console = Console(width=130)
    console.print(_table(rows))
    document = {
        "date": today,
        "unit": "microseconds",
        "rounds": _ROUNDS,
        "machine": _machine(),
        "rows": [asdict(row) for row in rows],
    }
    out.write_text(json.dumps(document, indent=1) + "\n")
    console.print(f"written to {out}")


if __name__ == "__main__":
    main()
