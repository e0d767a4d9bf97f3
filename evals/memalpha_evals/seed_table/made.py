"""What became of a table's cells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from memalpha_evals.runs import Run
from memalpha_evals.seed_table import who
from memalpha_evals.seed_table.figures import Ours, is_plumbing, of_run
from memalpha_evals.seed_table.published import Cell
from memalpha_evals.seed_table.who import Who


@dataclass(slots=True)
class Made:
    """What became of the jobs, by the names of their cells; `date` is when the last of their runs began.

    `writers` and `readers` are those of all runs, each once; `manifests` are the runs'.
    """

    ours: dict[str, dict[str, Ours]] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    plumbing: bool = False
    date: str = ""
    writers: list[Who] = field(default_factory=list)
    readers: list[Who] = field(default_factory=list)
    manifests: list[Mapping[str, Any]] = field(default_factory=list)

    def take(self, cell: Cell, run: Run, reader: str = "") -> None:
        """The figures of a cell's finished run.

        Args:
            cell: The cell.
            run: Its run.
            reader: The reader's word, which tells a model for tests; empty: its folder may be gone.
        """
        self.ours[cell.name] = of_run(cell, run)
        self.date = max(self.date, str(run.manifest["starts"][-1]["time"])[:10])
        self.writers = list(dict.fromkeys([*self.writers, *who.writers(run)]))
        self.readers = list(dict.fromkeys([*self.readers, who.reader(run)]))
        self.manifests.append(run.manifest)
        model_free = bool(run.manifest["what"]["reader"]["model_free"])
        self.plumbing |= is_plumbing(reader, model_free) if reader else model_free

    @property
    def failed(self) -> list[str]:
        """Cells, and systems of them, that answered no question."""
        return [
            f"{cell} ({name})"
            for cell, found in self.ours.items()
            for name, ours in found.items()
            if ours.failed == ours.paper.questions
        ]
