"""How well the runner uses slots, beside lock-step batches on the same stub in the same process.

What runs is the whole runner as `evals run` has it, with steps and rows written to disk; only model, system
and reader are stubs. Bounds: with S slots no runner is faster than all work spread over S slots, nor than the
longest chain of calls that wait for one another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time
from typing import Any

from memalpha_evals.bench import lockstep, stub
from memalpha_evals.bench.stub import Kind, Latencies, StubReader, StubSystem
from memalpha_evals.runs import Comparison, Execution, RunFolder, manifest
from memalpha_evals.scheduler import Limits, Report

CONVERSATIONS, CHUNKS, QUESTIONS, SEED = 64, (5, 25), 10, 7
SLOTS = 32
_UNLIMITED = 1_000_000
_MANY_CONVERSATIONS, _MANY_SLOTS = 512, 256
KINDS: tuple[Kind, ...] = ("fixed", "log-normal")


@dataclass(frozen=True, slots=True)
class Measured:
    """One run of this runner.

    Attributes:
        times: What its calls took.
        report: Of the scheduler.
        cpu: Seconds of all threads, from the first call to the last row.
    """

    times: Latencies
    report: Report
    cpu: float

    @property
    def per_call(self) -> float:
        """Milliseconds of CPU for each call."""
        return 1000 * self.cpu / self.times.calls


def measure(median: float, say: Callable[[str], None]) -> dict[str, Any]:
    """The measurement.

    Args:
        median: Seconds of a call; the lock-step runs alone take about 280 of them.
        say: Told what comes next.
    """
    kinds = {kind: _kind(kind, median, say) for kind in KINDS}
    say(f"{_MANY_SLOTS} calls in flight")
    return {
        "conversations": CONVERSATIONS,
        "chunks": list(CHUNKS),
        "questions": QUESTIONS,
        "seed": SEED,
        "slots": SLOTS,
        "median_seconds": median,
        "sigma": stub.SIGMA,
        "latencies": kinds,
        "overhead": _overhead(median),
    }


def _kind(kind: Kind, median: float, say: Callable[[str], None]) -> dict[str, Any]:
    times = stub.latencies(
        kind, median, conversations=CONVERSATIONS, chunks=CHUNKS, questions=QUESTIONS, seed=SEED
    )
    say(f"{kind} latencies, lock step, batches of {lockstep.BATCH}")
    locked = asyncio.run(lockstep.run(times))
    say(f"{kind} latencies, {SLOTS} slots")
    limited = runner(times, SLOTS)
    say(f"{kind} latencies, unlimited slots")
    unlimited = runner(times, _UNLIMITED)
    return {
        "calls": times.calls,
        "work_seconds": times.work,
        "chain_bound_seconds": times.longest_chain,
        "lockstep": _speed(locked),
        "limited": {
            **_speed(limited.report.seconds),
            "utilisation": limited.report.utilisation,
            "bound_seconds": max(times.longest_chain, times.work / SLOTS),
            "report": asdict(limited.report),
        },
        "unlimited": {
            **_speed(unlimited.report.seconds),
            "of_chain_bound": times.longest_chain / unlimited.report.seconds,
            "report": asdict(unlimited.report),
        },
        "ratio": locked / limited.report.seconds,
    }


def runner(times: Latencies, slots: int) -> Measured:
    """Runs the stub's conversations through the runner, into a folder that is thrown away."""
    comparison = Comparison(stub.dataset(times, SEED), (StubSystem(times),), StubReader(times), budget=1024)
    _ = comparison.streams  # cutting chunks is no part of running
    described = manifest.describe(comparison, {})
    with TemporaryDirectory() as name, RunFolder.create(Path(name), described) as folder:
        execution = Execution(comparison, folder, Limits(slots))
        before = process_time()
        report = asyncio.run(execution.run(complete=False))
        return Measured(times, report, process_time() - before)


def _overhead(median: float) -> dict[str, Any]:
    times = stub.latencies(
        "log-normal",
        median,
        conversations=_MANY_CONVERSATIONS,
        chunks=CHUNKS,
        questions=QUESTIONS,
        seed=SEED,
    )
    measured = runner(times, _MANY_SLOTS)
    return {
        "slots": _MANY_SLOTS,
        "calls": times.calls,
        "cpu_seconds": measured.cpu,
        "cpu_ms_per_call": measured.per_call,
        "bare_cpu_ms_per_call": 1000 * _bare(times) / times.calls,
        "utilisation": measured.report.utilisation,
        "lag_seconds": measured.report.lag,
    }


def _bare(times: Latencies) -> float:
    """Seconds of CPU of the same calls at the same pace by asyncio alone: what no runner can save."""
    before = process_time()
    asyncio.run(_calls([*chain.from_iterable(times.steps), *chain.from_iterable(times.answers)]))
    return process_time() - before


async def _calls(seconds: list[float]) -> None:
    slots = asyncio.Semaphore(_MANY_SLOTS)

    async def call(each: float) -> None:
        async with slots:
            await asyncio.sleep(each)

    await asyncio.gather(*map(call, seconds))


def _speed(seconds: float) -> dict[str, float]:
    return {"seconds": seconds, "conversations_per_minute": 60 * CONVERSATIONS / seconds}
