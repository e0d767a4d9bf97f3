"""Where a run stands, in one small file that is replaced as a whole.

States follow one another by the table below and no other way. A run that says `running` while nobody holds
its lock was killed; `RunFiles.status` then says `died`, which stands in no file.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from memalpha.errors import ConflictError, CorruptionError, make
from memalpha.files import replace_json

State = Literal["created", "running", "stopped", "failed", "done", "died"]

_NEXT: dict[State, tuple[State, ...]] = {
    "created": ("running", "stopped", "failed"),
    # From `running` to `running`: steps, and the resumption of a run that was killed.
    "running": ("running", "stopped", "failed", "done"),
    "stopped": ("running",),
    "failed": ("running",),
    "done": ("running",),
}


@dataclass(frozen=True, slots=True)
class Status:
    """Where a run stands.

    Attributes:
        state: `stopped` was asked to end, `failed` by an error, `died` without a word.
        step: Optimizer steps done.
        of: Optimizer steps that it is to do.
        pid: Of the process that works or worked on it.
        started: When this process began, in ISO 8601, UTC.
        changed: When this was written.
        message: For people: what it does now, or why it ended.
    """

    state: State
    step: int
    of: int
    pid: int
    started: str
    changed: str
    message: str = ""


def write(path: Path, before: State | None, status: Status) -> None:
    """Replaces the status.

    Raises:
        ConflictError: NO_SUCH_TRANSITION.
    """
    if before is not None and status.state not in _NEXT.get(before, ()):
        message = f"a run that is {before} cannot become {status.state}"
        raise make(ConflictError, "NO_SUCH_TRANSITION", message, before=before, after=status.state)
    replace_json(path, asdict(status))


def read(path: Path) -> Status:
    """The status as it was written.

    Raises:
        CorruptionError: DAMAGED_STATUS.
    """
    try:
        return Status(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError) as error:
        message = f"{path} tells no status: {error}"
        raise make(CorruptionError, "DAMAGED_STATUS", message, path=path) from None
