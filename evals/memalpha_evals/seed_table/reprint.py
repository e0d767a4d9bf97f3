"""A table that was written, once more from its runs: nothing is run, and no model, service or data is needed.

Figures come from the rows again, so that scores that were made again count. What the rows cannot tell, which
cells were wanted, by which words, and whether the reader was plumbing, is in the table's document; a run of
other words, or of a policy or reader that the document does not name, is none of its table.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from memalpha.errors import CorruptionError, NotFoundError, make
from memalpha_evals.runs import Run
from memalpha_evals.runs.compose import Plan
from memalpha_evals.seed_table import plans, who
from memalpha_evals.seed_table.before import DOCUMENT, Before, earlier
from memalpha_evals.seed_table.figures import of_mean
from memalpha_evals.seed_table.made import Made
from memalpha_evals.seed_table.plans import Settings
from memalpha_evals.seed_table.published import Cell, cells, means_last
from memalpha_evals.seed_table.taking import finished, with_another

_UNFINISHED = "not finished: the command that began it goes on"


def reprinted(out: Path) -> tuple[tuple[Cell, ...], Made, Settings]:
    """The cells of a folder's table, what became of them, and its words.

    Raises:
        NotFoundError: NO_TABLE.
        CorruptionError: DAMAGED_TABLE, or what is wrong with a run.
    """
    before = earlier(out)
    if before is None:
        message = f"there is no table {out / DOCUMENT}: it is written when all its cells were run"
        raise make(NotFoundError, "NO_TABLE", message, path=out)
    made = Made(plumbing=before.plumbing)
    wanted = tuple(_known(name, out) for name in before.reasons)
    for cell in means_last(wanted):
        _take(cell, out, before, made)
    return wanted, made, before.settings


def _known(name: str, out: Path) -> Cell:
    for cell in cells():
        if cell.name == name:
            return cell
    message = f"{out / DOCUMENT} has a cell {name!r}, which is none of the table's"
    raise make(CorruptionError, "DAMAGED_TABLE", message, path=out, cell=name)


def _take(cell: Cell, out: Path, before: Before, made: Made) -> None:
    reason = before.reasons[cell.name]
    if not cell.suite:
        made.ours[cell.name] = of_mean(cell, made.ours)
    elif reason not in ("", _UNFINISHED):
        made.reasons[cell.name] = reason
    elif not (run := finished(out / plans.folder(cell))):
        made.reasons[cell.name] = _UNFINISHED
    elif other := _other(cell, run, before):
        made.reasons[cell.name] = with_another(other)
    else:
        made.take(cell, run)


def _other(cell: Cell, run: Run, before: Before) -> list[str]:
    """In what a run is none of the table's: words, and whom the document does not name."""
    own = Plan.from_dict(run.manifest["plan"])
    placeless = replace(own, policy=who.shown(own.policy), reader=who.shown_reader(own.reader))
    found = plans.differing(placeless, plans.plan(cell, before.settings))
    if before.writers and not {*who.writers(run)} <= {*before.writers}:
        found.append("policy")
    if before.readers and who.reader(run) not in before.readers:
        found.append("reader")
    return list(dict.fromkeys(found))
