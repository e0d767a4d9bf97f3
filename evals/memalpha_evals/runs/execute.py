"""From a comparison and a folder to finished rows: finds what is left to do, does it, completes the rows.

Everything that was done before is found in the folder, so that a run that begins and a run that goes on are
one code. Scores are made when all rows are there, from the rows alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from memalpha.errors import CorruptionError, make
from memalpha_evals.protocols import NO_USAGE, ReplayError, Step, System, Usage
from memalpha_evals.rows import Row
from memalpha_evals.runs import records
from memalpha_evals.runs.asking import asked_fields, clusters
from memalpha_evals.runs.comparison import Comparison
from memalpha_evals.runs.evidence import EvidenceRecall
from memalpha_evals.runs.folder import RunFolder
from memalpha_evals.runs.journal import Journal
from memalpha_evals.runs.reading import Reading, Sink, Task
from memalpha_evals.scheduler import Limits, Outage, Patience, Report, Scheduler
from memalpha_evals.scorers import score
from memalpha_evals.streams import AskedQuestion, Stream


@dataclass(slots=True)
class Counts:
    """How far this start of a run is.

    Attributes:
        chunks: Read, of `all_chunks` still to read at its start.
        questions: Answered or failed, of `all_questions`.
        replayed: Steps that were on record.
        retried: Calls that failed and were made again.
        failures: Rows without an answer.
        usage: Of all model calls.
    """

    all_chunks: int = 0
    all_questions: int = 0
    chunks: int = 0
    questions: int = 0
    replayed: int = 0
    retried: int = 0
    failures: int = 0
    usage: Usage = field(default_factory=lambda: NO_USAGE)

    @property
    def left(self) -> int:
        """Chunks and questions."""
        return self.all_chunks - self.chunks + self.all_questions - self.questions


class Execution:
    """One start of a run. `counts` may be looked at while it runs."""

    def __init__(
        self,
        comparison: Comparison,
        folder: RunFolder,
        limits: Limits,
        patience: Patience | None = None,
        *,
        retry_failed: bool = False,
    ) -> None:
        """Over an open folder.

        Args:
            comparison: What is compared.
            folder: Of this comparison.
            limits: How much may be in flight.
            patience: With calls that fail.
            retry_failed: Ask again what has a row that failed.
        """
        self._comparison, self._folder = comparison, folder
        self._limits, self._patience = limits, patience
        self._done = {key for key, answered in folder.asked().items() if answered or not retry_failed}
        self._clusters = clusters(comparison.dataset)
        self.counts = Counts()

    async def run(self, *, complete: bool = True) -> Report:
        """Runs to the end and completes the rows, unless told not to.

        Raises:
            Outage: Nobody answers. As after every exception and cancellation, the folder can be resumed.
            CorruptionError: DAMAGED_LINE, STEP_MISSING, ANOTHER_STEP or ROWS_MISSING.
            OSError: The folder cannot be written.
        """
        if self._comparison.left_out:
            self._folder.note(left_out=list(self._comparison.left_out))
        try:
            with self._folder.journal() as journal:
                report = await self._run(journal)
            if complete:
                self._folder.finish(self._comparison.keys, self._completed())
        except BaseException as error:
            stopped = isinstance(error, asyncio.CancelledError | Outage)
            self._folder.end("stopped" if stopped else "failed", self._figures())
            raise
        self._folder.end("done" if complete else "stopped", {**self._figures(), **asdict(report)})
        return report

    async def _run(self, journal: Journal) -> Report:
        readings = list(self._readings(journal))
        self.counts.all_chunks = sum(each.remaining for each in readings)
        self.counts.all_questions = sum(each.questions for each in readings)
        try:
            return await Scheduler(self._limits, self._patience, self._count_retry).run(readings)
        except* ReplayError as errors:
            message = f"the steps of {self._folder.path} are not of this run: {errors.exceptions[0]}"
            raise make(CorruptionError, "ANOTHER_STEP", message, path=self._folder.path) from None
        except* OSError as errors:
            raise errors.exceptions[0] from None

    def _count_retry(self) -> None:
        self.counts.retried += 1

    def _readings(self, journal: Journal) -> Iterator[Reading]:
        task = Task(
            reader=self._comparison.reader,
            budget=self._comparison.budget,
            records=self._folder.records(),
            sink=self._sink(journal),
            blank=self._blank,
            policy_at=self._comparison.policy_at,
            reader_at=self._comparison.reader_at,
        )
        for system in self._comparison.systems:
            for stream in self._comparison.streams:
                yield from self._of(task, system, stream)

    def _of(self, task: Task, system: System, stream: Stream) -> Iterator[Reading]:
        left = [each for each in stream.questions if (system.name, stream.id, each.id) not in self._done]
        if system.query_aware:
            yield from (Reading(task, system, stream, [each], each) for each in left)
        elif left:
            yield Reading(task, system, stream, left)

    def _blank(self, system: System, stream: Stream, asked: AskedQuestion, built: Usage) -> Row:
        dataset, reader = self._comparison.dataset, self._comparison.reader
        return Row(
            dataset=dataset.name,
            system=system.name,
            reader=reader.name,
            conversation=stream.id,
            cluster=self._clusters[stream.id, asked.id],
            stream_tokens=sum(chunk.tokens for chunk in stream.chunks[: asked.after]),
            built=built,
            **asked_fields(asked, dataset.metric),
        )

    def _sink(self, journal: Journal) -> Sink:
        def step(key: records.Key, place: int, step: Step, seconds: float) -> None:
            journal.step(records.line(key, place, step, seconds))
            self.counts.chunks += 1
            self.counts.usage += step.usage

        def row(row: Row) -> None:
            journal.row(row.to_dict())
            self.counts.questions += 1
            self.counts.failures += bool(row.failure)
            self.counts.usage += row.read

        def replayed() -> None:
            self.counts.replayed += 1

        return Sink(step, row, replayed)

    def _completed(self) -> Callable[[Row], Row]:
        recall = EvidenceRecall(self._comparison.dataset)

        def completed(row: Row) -> Row:
            return replace(row, evidence_recall=recall.of(row), scores=score(row))

        return completed

    def _figures(self) -> Mapping[str, Any]:
        counts = self.counts
        return {
            "chunks": counts.chunks,
            "questions": counts.questions,
            "replayed": counts.replayed,
            "retried": counts.retried,
            "failures": counts.failures,
            "usage": counts.usage.to_dict(),
        }
