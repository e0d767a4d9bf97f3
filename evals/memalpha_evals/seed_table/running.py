"""Runs the cells one after another, each in a folder of its own; what is finished is not run again."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from memalpha.errors import AlreadyExistsError, make
from memalpha.tasks.data.readers.files import DatasetError
from memalpha_evals import reports
from memalpha_evals.runs import Comparison, Execution, Run, RunFolder, folder, manifest, read
from memalpha_evals.runs.compose import Plan, composed
from memalpha_evals.runs.progress import console, shown
from memalpha_evals.scheduler import Limits
from memalpha_evals.seed_table import plans, who
from memalpha_evals.seed_table.figures import Ours, is_plumbing, of_mean, of_run
from memalpha_evals.seed_table.plans import Job, Settings, unreadable
from memalpha_evals.seed_table.published import Cell, cells, means_last
from memalpha_evals.seed_table.who import Who


@dataclass(slots=True)
class Made:
    """What became of the jobs, by the names of their cells; `date` is when the last of their runs began.

    `writers` and `readers` are those of all runs, each once.
    """

    ours: dict[str, dict[str, Ours]] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    plumbing: bool = False
    date: str = ""
    writers: list[Who] = field(default_factory=list)
    readers: list[Who] = field(default_factory=list)

    def take(self, cell: Cell, run: Run) -> None:
        """The figures of a cell's finished run."""
        self.ours[cell.name] = of_run(cell, run)
        self.date = max(self.date, str(run.manifest["starts"][-1]["time"])[:10])
        self.writers = list(dict.fromkeys([*self.writers, *who.writers(run)]))
        self.readers = list(dict.fromkeys([*self.readers, who.reader(run)]))

    @property
    def failed(self) -> list[str]:
        """Cells, and systems of them, that answered no question."""
        return [
            f"{cell} ({name})"
            for cell, found in self.ours.items()
            for name, ours in found.items()
            if ours.failed == ours.paper.questions
        ]


async def carry_out(jobs: Iterable[Job], out: Path, limits: Limits) -> Made:
    """Runs what has a plan and no reason against it; that its data cannot be read is one.

    Raises:
        MemalphaError: a cell cannot be run; those before it are on disk, and the same command goes on there.
    """
    made = Made()
    of = {job.cell: job for job in jobs}
    for job in (of[cell] for cell in means_last(of)):
        if job.plan and not job.reason:
            _say(f"{job.cell.name}: {out / job.folder}")
            try:
                run = await _run(job.plan, out / job.folder, limits)
            except DatasetError as error:
                made.reasons[job.cell.name] = unreadable(error, job.plan.data)
                _say(made.reasons[job.cell.name])
                continue
            _take(made, job.cell, run, job.plan)
        elif job.reason:
            made.reasons[job.cell.name] = job.reason
        else:
            made.ours[job.cell.name] = of_mean(job.cell, made.ours)
    return made


def take_finished(made: Made, out: Path, settings: Settings) -> None:
    """Takes what earlier commands with the same settings finished in a folder, and means that it completes.

    Whether the data are still the same is asked only of cells that are wanted now and whose data are there.
    """
    for cell in means_last(cell for cell in cells() if not made.ours.get(cell.name)):
        if cell.mean_of:
            if found := of_mean(cell, made.ours):
                made.ours[cell.name] = found
        elif run := _finished(plan := plans.plan(cell, settings), out / plans.folder(cell)):
            _take(made, cell, run, plan)
            made.reasons.pop(cell.name, None)


def finished(path: Path) -> Run | None:
    """The run of a folder, if there is one that has all its rows."""
    if not (path / folder.MANIFEST).exists() or not folder.is_done(folder.read_manifest(path)):
        return None
    run = read(path)
    return run if run.done else None


def _finished(plan: Plan, path: Path) -> Run | None:
    return finished(path) if (path / folder.MANIFEST).exists() and not _differing(plan, path) else None


def _take(made: Made, cell: Cell, run: Run, plan: Plan) -> None:
    made.take(cell, run)
    made.plumbing |= is_plumbing(plan.reader, bool(run.manifest["what"]["reader"]["model_free"]))


async def _run(plan: Plan, path: Path, limits: Limits) -> Run:
    _require_plan(plan, path)
    async with composed(plan) as comparison:
        if _is_done(comparison, path):
            return read(path)
        with _opened(comparison, plan, path) as opened:
            execution = Execution(comparison, opened, limits)
            async with shown(execution.counts, console()):
                await execution.run()
    reports.write(path)
    return read(path)


def _require_plan(plan: Plan, path: Path) -> None:
    """Refuses a folder of another plan; data may lie elsewhere, as long as they are the same."""
    if (path / folder.MANIFEST).exists() and (differing := _differing(plan, path)):
        message = f"{path} was run with another {', '.join(differing)}: choose another folder with --out"
        raise make(AlreadyExistsError, "OTHER_PLAN", message, path=str(path))


def _differing(plan: Plan, path: Path) -> list[str]:
    before = asdict(Plan.from_dict(folder.read_manifest(path)["plan"]))
    now = asdict(replace(plan, data=before["data"]))
    return [name for name in now if before[name] != now[name]]


def _is_done(comparison: Comparison, path: Path) -> bool:
    """Whether the folder has all rows of just this: the same words may now name another model or other data.

    Raises:
        ConflictError: ANOTHER_RUN.
    """
    if not (path / folder.MANIFEST).exists():
        return False
    run = read(path)
    manifest.require_same(run.manifest["what"], manifest.what(comparison))
    return run.done


def _opened(comparison: Comparison, plan: Plan, path: Path) -> RunFolder:
    if (path / folder.MANIFEST).exists():
        return RunFolder.resume(path, manifest.what(comparison), plan.to_dict())
    return RunFolder.create(path, manifest.describe(comparison, plan.to_dict()))


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr)
