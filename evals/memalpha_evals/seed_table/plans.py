"""What would be run for a cell, how much that is, or why nothing can be."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from memalpha.cli.style import plural
from memalpha.tasks.data.readers.files import DatasetError
from memalpha_evals import suites
from memalpha_evals.runs.compose import Plan
from memalpha_evals.seed_table.published import Cell
from memalpha_evals.streams import stream

NO_READER = "not run: no reader model"


@dataclass(frozen=True, slots=True)
class Settings:
    """The words of a table, as `evals run` has them.

    Attributes:
        data: Folder of all data; None: the one that MEMALPHA_DATA names.
        systems: Of `systems.NAMES`, each once.
        policy: What writes memory.
        reader: What answers; empty: nobody, and no cell is run.
        preset: How `memalpha` reads.
        questions: Most of each cell; 0: as its protocol says.
        seed: Of every call; the draw's is the protocol's.
    """

    data: Path | None
    systems: tuple[str, ...]
    policy: str
    reader: str
    preset: str = "default"
    questions: int = 0
    seed: int = 42


@dataclass(frozen=True, slots=True)
class Job:
    """A cell with its plan, or the reason why it has none. A mean of cells has neither."""

    cell: Cell
    plan: Plan | None = None
    reason: str = ""

    @property
    def folder(self) -> str:
        """The name of its run's folder."""
        return folder(self.cell)


@dataclass(frozen=True, slots=True)
class Size:
    """How much a plan reads and asks; tokens are o200k tokens, those of contexts at most."""

    conversations: int
    questions: int
    chunks: int
    tokens: int
    context_tokens: int


def folder(cell: Cell) -> str:
    """The name of the folder of a cell's run."""
    return cell.name.lower().replace(" ", "-")


def questions(cell: Cell, settings: Settings) -> int:
    """Most questions of a cell; 0: all, and for a mean of cells."""
    return settings.questions or (suites.named(cell.suite).protocol.questions if cell.suite else 0)


def protocol(cell: Cell, settings: Settings) -> str:
    """What is done for a cell, with as many questions as are asked and, where that was chosen, are meant."""
    count, meant = questions(cell, settings), questions(cell, replace(settings, questions=0))
    asked = plural(count, "question") if count else "all questions"
    if settings.questions:
        asked = f"at most {asked} ({meant or 'all'} by the protocol)"
    return cell.protocol.format(questions=asked)


def jobs(cells: Iterable[Cell], settings: Settings) -> list[Job]:
    """A job for each cell; nothing is read."""
    return [_job(cell, settings) for cell in cells]


def size(plan: Plan) -> Size:
    """Counts a plan by reading its data and cutting it into chunks; no model is asked.

    Raises:
        DatasetError: the data cannot be read.
    """
    streams = [stream(each, plan.chunk_tokens) for each in plan.dataset().conversations]
    questions = sum(len(each.questions) for each in streams)
    return Size(
        conversations=len(streams),
        questions=questions,
        chunks=sum(len(each.chunks) for each in streams),
        tokens=sum(each.tokens for each in streams),
        context_tokens=questions * plan.budget,
    )


def unreadable(error: DatasetError, place: str) -> str:
    """The reason of a cell whose files are there and cannot be read; where they lie is not told.

    Args:
        error: Why not.
        place: Their folder, as the error has it.
    """
    said = str(error)
    if place:
        said = said.replace(f"{place}/", "").replace(place, Path(place).name)
    return f"not run: {said}"


def sized(jobs: Iterable[Job]) -> tuple[list[Job], dict[str, Size]]:
    """Jobs with the sizes of their plans, or with the reason why a cell's data have none."""
    found, sizes = list[Job](), dict[str, Size]()
    for job in jobs:
        reason = job.reason
        if job.plan:
            try:
                sizes[job.cell.name] = size(job.plan)
            except DatasetError as error:
                reason = unreadable(error, job.plan.data)
        found.append(replace(job, reason=reason))
    return found, sizes


def plan(cell: Cell, settings: Settings) -> Plan:
    """What is run for a cell that is no mean; nothing is looked for."""
    suite = suites.named(cell.suite)
    root = root_of(settings.data)
    own = suite.protocol
    return Plan(
        suite=suite.name,
        data=str((root / suite.folder).resolve()) if root else "",
        systems=settings.systems,
        policy=settings.policy,
        reader=settings.reader,
        preset=settings.preset,
        budget=own.budget,
        chunk_tokens=own.chunk_tokens,
        conversations=0,
        questions=questions(cell, settings),
        seed=settings.seed,
        draw_seed=own.seed,
    )


def differing(before: Plan, now: Plan) -> list[str]:
    """Names of the words that differ; data may lie elsewhere, and whether they are the same no word tells."""
    old, new = asdict(before), asdict(replace(now, data=before.data))
    return [name for name in new if old[name] != new[name]]


def root_of(data: Path | None) -> Path | None:
    """The folder of all data: the one that is named, else that of MEMALPHA_DATA, if there is one."""
    named = os.environ.get(suites.VARIABLE, "")
    return data or (Path(named) if named else None)


def _job(cell: Cell, settings: Settings) -> Job:
    if not cell.suite:
        return Job(cell)
    suite, wanted = suites.named(cell.suite), plan(cell, settings)
    try:
        suite.locate(Path(wanted.data) if wanted.data else None)
    except suites.NoData:
        files = " + ".join(suite.layouts[0].patterns)
        return Job(cell, reason=f"no data file: {suite.folder}/ {files}")
    except DatasetError as error:
        return Job(cell, reason=unreadable(error, wanted.data))
    return Job(cell, wanted, "" if settings.reader else NO_READER)
