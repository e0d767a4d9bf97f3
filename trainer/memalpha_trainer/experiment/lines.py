"""One line of JSON for each finished cell: enough to make every table again without running anything."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import ValidationError

from memalpha.errors import InvalidInputError, make
from memalpha_trainer.config import Config
from memalpha_trainer.evaluation import Result
from memalpha_trainer.heldout import Results
from memalpha_trainer.models import digest
from memalpha_trainer.runs.free import FREE, differing

if TYPE_CHECKING:
    from memalpha_trainer.experiment.cells import Cell

COMPARED_FREE = FREE - {"eval"}
"""Settings that may differ between cells that are compared; held-out streams may not."""


@dataclass(frozen=True, slots=True)
class CellLine:
    """A finished cell.

    Attributes:
        arm, warm, seed: Which; `warm` is the warm start's name.
        warm_digest: SHA-256 of its `memalpha.json`, and so of all of its files.
        date: When it ended, UTC.
        seconds: How long it took, in all of its processes.
        config: Whole.
        results: Held-out results by length.
        curve: Mean score of the answers at each collection.
    """

    arm: str
    warm: str
    seed: int
    warm_digest: str
    date: str
    seconds: float
    config: dict[str, Any]
    results: Results
    curve: list[float]

    @classmethod
    def made(cls, cell: Cell, config: Config, results: Results, curve: list[float], seconds: float) -> Self:
        """The line of a cell."""
        found = digest(cell.warm)
        date = datetime.now(UTC).isoformat(timespec="seconds")
        settings = _portable(config, cell)
        return cls(
            cell.arm, cell.warm.name, cell.seed, found, date, round(seconds, 1), settings, results, curve
        )

    def differs(self, cell: Cell, config: Config) -> str:
        """What makes it no line of this cell under this configuration, in words; empty if it is one.

        A setting that the line lacks, as it was added since, is taken to have been what is its default now:
        whoever adds one must see to it that this is true.
        """
        try:
            before = Config.model_validate(self.config)
        except ValidationError as error:
            return ".".join(map(str, error.errors()[0]["loc"]))
        now = Config.model_validate(_portable(config, cell))
        if found := differing(before, now, COMPARED_FREE):
            return found
        return "" if self.warm_digest == digest(cell.warm) else "the warm start"

    @property
    def key(self) -> tuple[str, str, int]:
        """As `Cell.key`."""
        return self.arm, self.warm, self.seed

    def to_json(self) -> str:
        """One line, without its newline."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, line: str) -> Self:
        """What `to_json` was given."""
        raw = json.loads(line)
        results = {name: Result.from_dict(each) for name, each in raw.pop("results").items()}
        return cls(results=results, **raw)


def _portable(config: Config, cell: Cell) -> dict[str, Any]:
    """The settings without the folders of one machine."""
    settings = config.model_dump(mode="json")
    settings["out"], settings["policy"]["model"] = "runs", cell.warm.name
    settings["agent"]["prompt_pack"] = Path(settings["agent"]["prompt_pack"]).name
    return settings


def read_lines(file: Path) -> list[CellLine]:
    """All lines of a file; none if there is no file.

    Raises:
        InvalidInputError: INVALID_CELL; it names the line.
    """
    found = []
    for number, line in enumerate(file.read_text("utf-8").splitlines() if file.exists() else (), 1):
        try:
            found.append(CellLine.from_json(line))
        except (KeyError, TypeError, ValueError) as error:
            message = f"{file}, line {number}: no cell: {error!r:.200}"
            raise make(InvalidInputError, "INVALID_CELL", message, line=number) from None
    return found
