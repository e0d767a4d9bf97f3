"""Cells of the experiment: what each is, and how it is run.

A training cell is a run like any other, started as a process of its own, so that its folder, its replay and
its rollout viewer are those of any run. Rows that train nothing (the warm start itself, scripted writers) are
cells too, so that all rows of the table come from one file and read the same streams.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from memalpha.errors import InternalError, InvalidInputError, make
from memalpha.tasks.ledger.writers import TEACHER, Teacher
from memalpha.tasks.writers import Empty, Verbatim
from memalpha_trainer import heldout
from memalpha_trainer.config import Config, quoted, resolve
from memalpha_trainer.evaluation import MakeWriter
from memalpha_trainer.experiment.lines import COMPARED_FREE, CellLine
from memalpha_trainer.heldout import Results
from memalpha_trainer.models import fitted
from memalpha_trainer.runs.free import differing
from memalpha_trainer.runs.reading import RunFiles

ARMS: dict[str, tuple[str, ...]] = {
    "evidence": ("credit.mode='evidence'",),
    "mem_alpha": ("credit.mode='mem_alpha'",),
    "shuffled": ("credit.mode='evidence'", "rewards.shuffled=true"),
    "trajectory": ("credit.mode='trajectory'",),
    "per_chunk": ("credit.mode='per_chunk'",),
}
"""Settings of each training arm, on top of what all share."""
PILOT = ("evidence", "mem_alpha", "shuffled")
SCRIPTED: dict[str, MakeWriter] = {
    "empty": lambda share: Empty(),
    "verbatim, equal": Verbatim,
    "teacher": lambda share: Teacher(TEACHER),
    "teacher, greedy": lambda share: Teacher(TEACHER.greedy()),
    "oracle": lambda share: Teacher(),
}
GREEDY, SAMPLED = "warm start, greedy", "warm start, sampled"
REJECTION = "rejection SFT"
_KEPT_LINES = 20
_OWN = ("name", "out", "seed", "policy.model")


@dataclass(frozen=True, slots=True)
class Cell:
    """One row of the table by one seed.

    Attributes:
        arm: The row.
        warm: The checkpoint that it starts from.
        seed: Of training; 0 where nothing is trained.
    """

    arm: str
    warm: Path
    seed: int = 0

    @property
    def key(self) -> tuple[str, str, int]:
        """What makes it the same cell."""
        return self.arm, self.warm.name, self.seed

    @property
    def name(self) -> str:
        """Of its run's folder."""
        arm = self.arm.replace(",", "").replace(" ", "-")
        return f"{arm}-{self.warm.name}-{self.seed}"


@dataclass(frozen=True, slots=True)
class Plan:
    """An experiment.

    Attributes:
        file: Configuration that all cells share.
        overrides: On top of it.
        out: Folder of runs.
        warm: Warm starts.
        seeds: Of each training arm and warm start.
        arms: Training arms.
    """

    file: Path
    overrides: tuple[str, ...]
    out: Path
    warm: tuple[Path, ...]
    seeds: int
    arms: tuple[str, ...] = PILOT

    def __post_init__(self) -> None:
        """Refuses what would run other cells than it seems."""
        unknown = sorted(set(self.arms) - set(ARMS))
        if unknown:
            _refuse(f"arms must be of {', '.join(ARMS)}, not {unknown[0]!r}")
        names = [each.name for each in self.warm]
        if len(set(names)) < len(names):
            _refuse(f"warm starts must have names of their own, not {', '.join(names)}")
        for each in self.overrides:
            if each.partition("=")[0].strip() in _OWN:
                _refuse(f"{each!r}: {', '.join(_OWN)} are the experiment's own")

    def cells(self) -> Iterator[Cell]:
        """All cells; those that cost little come first, then one seed of every arm after another."""
        first = self.warm[0]
        yield from (Cell(arm, first) for arm in SCRIPTED)
        yield from (Cell(arm, warm) for warm in self.warm for arm in (GREEDY, SAMPLED))
        for seed in range(self.seeds):
            yield from (Cell(arm, warm, seed) for warm in self.warm for arm in (*self.arms, REJECTION))

    def config(self, cell: Cell) -> Config:
        """A cell's configuration, with the words of its warm start."""
        return fitted(resolve(self.file, self.settings(cell)), cell.warm)

    def settings(self, cell: Cell) -> list[str]:
        """What a cell has on top of the file."""
        shared = [
            f"name={quoted(cell.name)}",
            f"out={quoted(self.out)}",
            f"policy.model={quoted(cell.warm)}",
        ]
        return [*shared, *self.overrides, f"seed={cell.seed}", *ARMS.get(cell.arm, ())]


def run_cell(plan: Plan, cell: Cell, note: Callable[[str], None]) -> CellLine:
    """Runs a cell to its end, or goes on with it; its line.

    Raises:
        InternalError: CELL_FAILED, with the last lines of its process.
    """
    config = plan.config(cell)
    note(cell.name)
    if cell.arm in ARMS:
        _train(plan, cell, config)
        results, curve = _trained(config)
        return CellLine.made(cell, config, results, curve, RunFiles.find(config.folder).seconds())
    begin = time.monotonic()
    results = _untrained(config, cell)
    return CellLine.made(cell, config, results, [], time.monotonic() - begin)


def _refuse(message: str) -> NoReturn:
    raise make(InvalidInputError, "INVALID_EXPERIMENT", message)


def _untrained(config: Config, cell: Cell) -> Results:
    if cell.arm in SCRIPTED:
        return heldout.of_writer(config, SCRIPTED[cell.arm])
    if cell.arm == REJECTION:
        return heldout.of_checkpoint(config, _rejection(config, cell))
    return heldout.of_checkpoint(config, cell.warm, temperature=1.0 if cell.arm == SAMPLED else 0.0)


def _rejection(config: Config, cell: Cell) -> Path:
    from memalpha_trainer.warmstart.rejection import imitate_best

    return imitate_best(config, cell.warm, config.folder)


def _train(plan: Plan, cell: Cell, config: Config) -> None:
    known = (config.folder / "config.toml").exists()
    if known and RunFiles.find(config.folder).status().state == "done":
        _require_same(RunFiles.find(config.folder).config, resolve(plan.file, plan.settings(cell)), cell)
        return
    command = [sys.executable, "-m", "memalpha_trainer", "train", "--quiet", "--config", str(plan.file)]
    command += [*plan.settings(cell), *(["--resume"] if known else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = "\n".join(done.stderr.splitlines()[-_KEPT_LINES:])
        message = f"cell {cell.name} ended with {done.returncode}:\n{last}"
        raise make(InternalError, "CELL_FAILED", message, cell=cell.name)


def _require_same(made: Config, asked: Config, cell: Cell) -> None:
    """Refuses a finished run of other settings."""
    if found := differing(made, asked, COMPARED_FREE):
        _refuse(f"run {made.folder} of cell {cell.name} had another {found}; choose another --out")


def _trained(config: Config) -> tuple[Results, list[float]]:
    from memalpha_trainer.session import read_results

    metrics = RunFiles.find(config.folder).metrics()
    curve = [line["reward/qa"] for line in metrics if "reward/qa" in line]
    return read_results(config.folder)["after"], curve
