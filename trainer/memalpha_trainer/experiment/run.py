"""Works an experiment off, cell by cell, in any number of processes at once."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path

from memalpha_trainer.experiment.cells import Cell, Plan, run_cell
from memalpha_trainer.experiment.lines import CellLine, read_lines


def run(plan: Plan, file: Path, jobs: int, note: Callable[[str], None]) -> list[CellLine]:
    """Runs the cells that `file` has no line of, and adds theirs as they finish; all lines.

    Args:
        plan: What to run.
        file: JSON lines, one for each finished cell.
        jobs: Cells at once.
        note: Is told of cells that begin and end.

    Raises:
        InternalError: CELL_FAILED; cells in work are waited for, and their lines kept.
    """
    done = {line.key for line in read_lines(file)}
    file.parent.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(jobs) as workers:
        working = {workers.submit(run_cell, plan, cell, note) for cell in _open(plan, done)}
        try:
            while working:
                ended, working = wait(working, return_when=FIRST_COMPLETED)
                for each in ended:
                    _add(file, each.result())
        finally:
            for each in working:
                each.cancel()
    return read_lines(file)


def _open(plan: Plan, done: set[tuple[str, str, int]]) -> list[Cell]:
    return [cell for cell in plan.cells() if cell.key not in done]


def _add(file: Path, line: CellLine) -> None:
    with file.open("a", encoding="utf-8") as lines:
        lines.write(line.to_json() + "\n")
        lines.flush()
        os.fsync(lines.fileno())
