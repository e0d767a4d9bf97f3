"""What a run starts from besides its settings: the checkpoint, to its bits, and rollouts that are replayed.

Settings name a checkpoint by its folder, in which there may be another one tomorrow. A run goes on from the
one that it began with, or not at all: its weights and its reference would be two models'.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import file_digest
from pathlib import Path
from typing import Any, Self

from memalpha.errors import InvalidInputError, make


@dataclass(frozen=True, slots=True)
class Origin:
    """As it stands with each start in `environment.json`.

    Attributes:
        base: Digest of the checkpoint (`models.digest`); empty if the settings decide it.
        replay: File of rollouts that were replayed; empty if a policy wrote new ones.
        replay_digest: Its SHA-256.
    """

    base: str = ""
    replay: str = ""
    replay_digest: str = ""

    @classmethod
    def of(cls, base: str, replay: Path | None) -> Self:
        """Of a checkpoint and, perhaps, a file of rollouts."""
        if replay is None:
            return cls(base)
        with replay.open("rb") as file:
            return cls(base, str(replay), file_digest(file, "sha256").hexdigest())

    def told(self) -> dict[str, Any]:
        """What there is to tell."""
        return {name: value for name, value in asdict(self).items() if value}

    def require_base(self, starts: Sequence[Mapping[str, Any]], run: Path) -> None:
        """Refuses to go on from another checkpoint than the run's starts had.

        Raises:
            InvalidInputError: ANOTHER_BASE.
        """
        begun = next((each["base"] for each in starts if each.get("base")), self.base)
        if begun != self.base:
            message = (
                f"run {run} began with checkpoint {begun[:12]}, and policy.model holds {self.base[:12]} now:"
                " put that checkpoint back, or train under another name"
            )
            raise make(InvalidInputError, "ANOTHER_BASE", message, path=run, base=begun)
