"""A table that was written, once more from its runs: nothing is run, and no model, service or data is needed.

Figures come from the rows again, so that scores that were made again count. What the rows cannot tell, which
cells were wanted, by which words, and whether the reader was plumbing, is in the table's document.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from memalpha.errors import CorruptionError, NotFoundError, make
from memalpha_evals.seed_table import page, plans
from memalpha_evals.seed_table.figures import of_mean
from memalpha_evals.seed_table.plans import Settings
from memalpha_evals.seed_table.published import Cell, cells, means_last
from memalpha_evals.seed_table.running import Made, finished


def reprinted(out: Path) -> tuple[tuple[Cell, ...], Made, Settings]:
    """The cells of a folder's table, what became of them, and its words.

    Raises:
        NotFoundError: NO_TABLE.
        CorruptionError: DAMAGED_TABLE, or what is wrong with a run.
    """
    content = _document(out / page.DOCUMENT)
    try:
        names = {each["name"]: str(each["reason"]) for each in content["cells"]}
        settings = _settings(content["settings"])
        made = Made(plumbing=bool(content["plumbing"]))
    except (KeyError, TypeError) as error:
        message = f"{out / page.DOCUMENT} must be a table's document, but lacks {error}"
        raise make(CorruptionError, "DAMAGED_TABLE", message, path=out) from None
    wanted = tuple(_known(name, out) for name in names)
    for cell in means_last(wanted):
        _take(cell, out, names[cell.name], made)
    return wanted, made, settings


def _known(name: str, out: Path) -> Cell:
    for cell in cells():
        if cell.name == name:
            return cell
    message = f"{out / page.DOCUMENT} has a cell {name!r}, which is none of the table's"
    raise make(CorruptionError, "DAMAGED_TABLE", message, path=out, cell=name)


def _take(cell: Cell, out: Path, reason: str, made: Made) -> None:
    if not cell.suite:
        made.ours[cell.name] = of_mean(cell, made.ours)
    elif run := finished(out / plans.folder(cell)):
        made.take(cell, run)
    else:
        made.reasons[cell.name] = reason or "not finished: the command that began it goes on"


def _document(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_bytes())
    except OSError:
        message = f"there is no table {path}: it is written when all its cells were run"
        raise make(NotFoundError, "NO_TABLE", message, path=path) from None
    except ValueError as error:
        message = f"{path} is damaged: {error}"
        raise make(CorruptionError, "DAMAGED_TABLE", message, path=path) from None


def _settings(raw: dict[str, Any]) -> Settings:
    data = Path(raw["data"]) if raw["data"] else None
    return Settings(**{**raw, "data": data, "systems": tuple(raw["systems"])})
