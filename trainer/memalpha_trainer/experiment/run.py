"""Works an experiment off, cell by cell, in any number of processes at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

from memalpha.errors import InvalidInputError, make
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
        InvalidInputError: OTHER_EXPERIMENT: the file holds lines of another one.
    """
    done = {line.key: line for line in read_lines(file)}
    file.parent.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(jobs) as workers:
        working = {workers.submit(run_cell, plan, cell, note) for cell in _open(plan, done)}
        errors = [error for error in _ended(working, file) if error]
    if errors:
        raise errors[0]
    return read_lines(file)


def _ended(working: set[Future[CellLine]], file: Path) -> Iterator[BaseException | None]:
    """Adds lines as cells finish; after the first error no other cell begins, and those in work are kept."""
    while working:
        ended, working = wait(working, return_when=FIRST_COMPLETED)
        for each in ended:
            if each.cancelled():
                continue
            if each.exception() is None:
                _add(file, each.result())
            else:
                working = {other for other in working if not other.cancel()}
            yield each.exception()


def _open(plan: Plan, done: dict[tuple[str, str, int], CellLine]) -> list[Cell]:
    """Cells without a line.

    Raises:
        InvalidInputError: OTHER_EXPERIMENT: a line is of other settings or of another warm start.
    """
    cells = []
    for cell in plan.cells():
        line = done.get(cell.key)
        if line is None:
            cells.append(cell)
        elif found := line.differs(cell, plan.config(cell)):
            message = (
                f"the line of {cell.name} is of another experiment: {found} differs; choose another --lines"
            )
            raise make(InvalidInputError, "OTHER_EXPERIMENT", message, cell=cell.name, differs=found)
    return cells


def _add(file: Path, line: CellLine) -> None:
    with file.open("a", encoding="utf-8") as lines:
        lines.write(line.to_json() + "\n")
        lines.flush()
        os.fsync(lines.fileno())
