"""What would be run for a cell, how much that is, or why nothing can be."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
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


def unreadable(error: DatasetError, plan: Plan) -> str:
    """The reason of a cell whose files are there and not of their form; where they lie is not told."""
    return f"not run: {str(error).replace(f'{plan.data}/', '') if plan.data else error}"


def sized(jobs: Iterable[Job]) -> tuple[list[Job], dict[str, Size]]:
    """Jobs with the sizes of their plans, or with the reason why a cell's data have none."""
    found, sizes = list[Job](), dict[str, Size]()
    for job in jobs:
        reason = job.reason
        if job.plan:
            try:
                sizes[job.cell.name] = size(job.plan)
            except DatasetError as error:
                reason = unreadable(error, job.plan)
        found.append(replace(job, reason=reason))
    return found, sizes


def _job(cell: Cell, settings: Settings) -> Job:
    if not cell.suite:
        return Job(cell)
    suite = suites.named(cell.suite)
    place = settings.data / suite.folder if settings.data else None
    try:
        suite.locate(place)
    except DatasetError:
        wanted = " + ".join(suite.layouts[0].patterns)
        return Job(cell, reason=f"no data file: {suite.folder}/ {wanted}")
    own = suite.protocol
    plan = Plan(
        suite=suite.name,
        data=str(place.resolve()) if place else "",
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
    return Job(cell, plan) if settings.reader else replace(Job(cell, plan), reason=NO_READER)
