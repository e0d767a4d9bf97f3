"""What a run starts from besides its settings: checkpoint and data, to their bits, a replay, whom it asks.

Settings name files and addresses, which may hold something else tomorrow. A run goes on from what it began
with, or not at all: half of it would be of one model or one set of streams, half of another.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import file_digest
from pathlib import Path
from typing import Any, Self

from memalpha.errors import InvalidInputError, make
from memalpha_trainer.asked import Asked

_DIGEST = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Origin:
    """As it stands with each start in `environment.json`.

    Attributes:
        base: Digest of the checkpoint (`models.digest`); empty if the settings decide it.
        replay: File of rollouts that were replayed; empty if a policy wrote new ones.
        replay_digest: Its SHA-256.
        data: SHA-256 of the file of instances; empty if there is none.
        evaluation: The setting whose file has the instances for evaluation, which decides what of `data` is
            trained on; empty if there is no file. That file itself may change: no gradient depends on it.
        reader: The model that answers, if there is one.
        judge: The model that judges contents, likewise.
    """

    base: str = ""
    replay: str = ""
    replay_digest: str = ""
    data: str = ""
    evaluation: str = ""
    reader: Asked | None = None
    judge: Asked | None = None

    @classmethod
    def of(cls, base: str, replay: Path | None, data: Path | None = None, *, apart: bool = False) -> Self:
        """Of a checkpoint and, perhaps, a file of rollouts and one of instances.

        Args:
            base: See there.
            replay: A file of rollouts.
            data: A file of instances.
            apart: Whether those for evaluation have a file of their own.
        """
        replayed = (str(replay), _digest(replay)) if replay else ("", "")
        if data is None:
            return cls(base, *replayed)
        return cls(base, *replayed, _digest(data), "eval.file" if apart else "task.file")

    def told(self) -> dict[str, Any]:
        """What there is to tell."""
        return {name: value for name, value in asdict(self).items() if value}

    def require_same(self, starts: Sequence[Mapping[str, Any]], run: Path) -> None:
        """Refuses to go on from anything else than the run's starts had; what was not told is not compared.

        Raises:
            InvalidInputError: ANOTHER_BASE, ANOTHER_DATA, ANOTHER_REPLAY, ANOTHER_READER or ANOTHER_JUDGE.
        """
        self._compare("base", "ANOTHER_BASE", "checkpoint", starts, run)
        self._compare("data", "ANOTHER_DATA", "instances", starts, run)
        self._compare("evaluation", "ANOTHER_DATA", "evaluation on instances of", starts, run)
        if starts and starts[-1].get("replay_digest", "") != self.replay_digest:
            was = starts[-1].get("replay") or "rollouts of its own policy"
            message = (
                f"run {run} was trained on {was}: go on with the same --replay, or train under another name"
            )
            raise make(InvalidInputError, "ANOTHER_REPLAY", message, path=run)
        _compare_asked("reader", "ANOTHER_READER", self.reader, starts, run)
        _compare_asked("judge", "ANOTHER_JUDGE", self.judge, starts, run)

    def _compare(
        self, field: str, reason: str, what: str, starts: Sequence[Mapping[str, Any]], run: Path
    ) -> None:
        now = getattr(self, field)
        begun = next((each[field] for each in starts if each.get(field)), now)
        if begun != now:
            message = (
                f"run {run} began with {what} {_short(begun)}, and the settings name {_short(now) or 'none'}"
                " now: put back what was there, or train under another name"
            )
            raise make(InvalidInputError, reason, message, path=run, begun=begun)


def _compare_asked(
    who: str, reason: str, now: Asked | None, starts: Sequence[Mapping[str, Any]], run: Path
) -> None:
    # A start of before has a string, which is not enough to compare.
    begun = next((Asked(**each[who]) for each in starts if isinstance(each.get(who), dict)), now)
    if begun is None or (now and not begun.differs(now)):
        return
    named = f"{now} now, which differs in {begun.differs(now)}" if now else "none now"
    message = (
        f"run {run} began with {who} {begun}, and the settings name {named}:"
        " put back what was there, or train under another name"
    )
    raise make(InvalidInputError, reason, message, path=run, begun=str(begun))


def _short(told: str) -> str:
    """Of a digest its beginning, which is enough to tell it from another."""
    return told[:12] if _DIGEST.fullmatch(told) else told


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
