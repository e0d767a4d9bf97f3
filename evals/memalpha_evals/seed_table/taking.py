"""Takes what earlier commands finished in a table's folder, where it is of the same table.

All runs of a table have one policy and one reader, of the same packages; words alone do not tell that, as
there may be another model behind the same address. A run that has the words of this table and is not of it is
a reason, and so is one that is damaged: neither is passed over without a word, and neither ends the command.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from memalpha.errors import CorruptionError
from memalpha.tasks.data.readers.files import DatasetError
from memalpha_evals import suites
from memalpha_evals.runs import Run, folder, read
from memalpha_evals.runs.compose import Plan
from memalpha_evals.seed_table import plans
from memalpha_evals.seed_table.before import Before
from memalpha_evals.seed_table.figures import of_mean
from memalpha_evals.seed_table.made import Made
from memalpha_evals.seed_table.plans import Settings
from memalpha_evals.seed_table.published import Cell, cells, means_last

_SEVERAL = ("data", "packages", "questions", "systems")


def take_finished(made: Made, out: Path, settings: Settings, before: Before | None = None) -> None:
    """Takes cells that were not run now and have no reason, and means that they complete.

    Args:
        made: Of the cells of this command; what is taken is added.
        out: The table's folder.
        settings: Its words; runs of others are passed over.
        before: The table that stood there; a reader that was plumbing in it still is.
    """
    for cell in means_last(cell for cell in cells() if not made.ours.get(cell.name)):
        if cell.mean_of:
            if found := of_mean(cell, made.ours):
                made.ours[cell.name] = found
        elif cell.name not in made.reasons:
            _take(made, cell, plans.plan(cell, settings), out / plans.folder(cell))
    made.plumbing |= before is not None and before.plumbing and bool({*before.readers} & {*made.readers})


def finished(path: Path) -> Run | None:
    """The run of a folder, if there is one that has all its rows.

    Raises:
        CorruptionError: DAMAGED_MANIFEST or DAMAGED_LINE.
    """
    if not (path / folder.MANIFEST).exists() or not folder.is_done(folder.read_manifest(path)):
        return None
    run = read(path)
    return run if run.done else None


def with_another(names: Iterable[str]) -> str:
    """The reason of a cell whose run differs from the table in these."""
    named = (f"{'other' if name in _SEVERAL else 'another'} {name.replace('_', ' ')}" for name in names)
    return f"not taken: finished with {' and '.join(named)}"


def _take(made: Made, cell: Cell, plan: Plan, path: Path) -> None:
    try:
        run = finished(path)
        if run is None or plans.differing(Plan.from_dict(run.manifest["plan"]), plan):
            return
        other = _unlike(run.manifest, made.manifests) or (["data"] if _has_other_data(run, plan) else [])
    except (CorruptionError, OSError) as error:
        made.reasons[cell.name] = f"not taken: {str(error).replace(str(path), path.name)}"
    except DatasetError as error:
        made.reasons[cell.name] = plans.unreadable(error, plan.data)
    else:
        if other:
            made.reasons[cell.name] = with_another(other)
        else:
            made.take(cell, run, plan.reader)


def _unlike(manifest: Mapping[str, Any], taken: Iterable[Mapping[str, Any]]) -> list[str]:
    """In what a run differs from the first in the table; nothing, if it is like any there."""
    now, kinds = _kind(manifest), [_kind(each) for each in taken]
    if not kinds or now in kinds:
        return []
    return [name for name in now if now[name] != kinds[0][name]]


def _kind(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What the runs of a table have in common; budgets are the cells' own, and in their plans."""
    what = manifest["what"]
    identities = [dict(each.get("identity", {})) for each in what["systems"]]
    return {
        "policy": [identity.pop("policy", None) for identity in identities],
        "systems": [(each["name"], own) for each, own in zip(what["systems"], identities, strict=True)],
        "reader": what["reader"],
        "packages": what.get("packages"),
    }


def _has_other_data(run: Run, plan: Plan) -> bool:
    try:
        return plan.dataset().sha256 != run.manifest["what"]["data"]["sha256"]
    except suites.NoData:
        return False
