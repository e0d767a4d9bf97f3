"""What all runs of a comparison share, and that a folder of runs is of one such plan.

A run is killed `again` steps after its first checkpoint and goes on from there, so that no other checkpoint
may come before the kill. A folder keeps its plan in `plan.json`; runs of another one are neither read nor
gone on with.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from memalpha.errors import ConflictError, InvalidInputError, make
from memalpha.files import replace_json
from memalpha.policy.checkpoint import MANIFEST
from memalpha_trainer.models import digest

LEAST_STEPS = 5
"""An interval needs as many."""
CONFIG = Path(__file__).parents[2] / "configs" / "ledger-tiny.toml"
"""What all runs have, but for the settings on top."""
_FILE = "plan.json"


@dataclass(frozen=True, slots=True)
class Plan:
    """What all runs share.

    Attributes:
        model: The checkpoint that they start from.
        out: Folder of runs.
        steps: Optimizer steps.
        every: Steps between checkpoints.
        again: Steps that are done again: a run is killed so many after its first checkpoint.
        more: Settings on top, `table.key=value`.
    """

    model: Path
    out: Path
    steps: int
    every: int
    again: int
    more: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuses what would not be killed, or not be comparable."""
        rules = {
            f"steps must be at least {LEAST_STEPS}": self.steps >= LEAST_STEPS,
            "again must be at least 1 and below every": 1 <= self.again < self.every,
            "every + again must be below steps": self.every + self.again < self.steps,
        }
        for rule, kept in rules.items():
            if not kept:
                message = f"{rule}; steps {self.steps}, every {self.every}, again {self.again} are given"
                raise make(InvalidInputError, "INVALID_PLAN", message)

    def claim(self) -> None:
        """Makes the folder of runs this plan's, unless it is.

        Raises:
            InvalidInputError: CHECKPOINT_NOT_SEALED.
            ConflictError: ANOTHER_PLAN.
        """
        kept, mine = self.out / _FILE, self._told()
        if kept.exists():
            self._compare(json.loads(kept.read_bytes()), mine)
        elif self.out.exists() and any(self.out.iterdir()):
            self._refuse(f"holds other things and no {_FILE}")
        else:
            self.out.mkdir(parents=True, exist_ok=True)
            replace_json(kept, mine)

    def _told(self) -> dict[str, Any]:
        """All that decides what runs write; a checkpoint by its content, wherever it stands."""
        if not (self.model / MANIFEST).is_file():
            message = f"--model must be a sealed checkpoint, with a {MANIFEST}; it is {self.model}"
            raise make(InvalidInputError, "CHECKPOINT_NOT_SEALED", message, path=self.model)
        numbers = {"steps": self.steps, "every": self.every, "again": self.again}
        config = sha256(CONFIG.read_bytes()).hexdigest()
        return {"model": digest(self.model), "config": config, **numbers, "more": list(self.more)}

    def _compare(self, kept: dict[str, Any], mine: dict[str, Any]) -> None:
        for name, value in mine.items():
            if kept.get(name) != value:
                self._refuse(f"holds runs with {name} {kept.get(name)!r:.80}, not {value!r:.80}")

    def _refuse(self, why: str) -> None:
        message = f"{self.out} {why}: choose another --out"
        raise make(ConflictError, "ANOTHER_PLAN", message, path=self.out)
