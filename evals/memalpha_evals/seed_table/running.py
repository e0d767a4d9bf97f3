"""Runs the cells one after another, each in a folder of its own; what is finished is not run again."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from memalpha.errors import AlreadyExistsError, make
from memalpha.tasks.data.readers.files import DatasetError
from memalpha_evals import reports
from memalpha_evals.runs import Comparison, Execution, Run, RunFolder, folder, manifest, read
from memalpha_evals.runs.compose import Plan, composed
from memalpha_evals.runs.progress import console, shown
from memalpha_evals.scheduler import Limits
from memalpha_evals.seed_table import plans
from memalpha_evals.seed_table.figures import of_mean
from memalpha_evals.seed_table.made import Made
from memalpha_evals.seed_table.plans import Job, unreadable
from memalpha_evals.seed_table.published import means_last


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
            made.take(job.cell, run, job.plan.reader)
        elif job.reason:
            made.reasons[job.cell.name] = job.reason
        else:
            made.ours[job.cell.name] = of_mean(job.cell, made.ours)
    return made


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
    if not (path / folder.MANIFEST).exists():
        return
    before = Plan.from_dict(folder.read_manifest(path)["plan"])
    if differing := plans.differing(before, plan):
        message = f"{path} was run with another {', '.join(differing)}: choose another folder with --out"
        raise make(AlreadyExistsError, "OTHER_PLAN", message, path=str(path))


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
