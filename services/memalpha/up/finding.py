"""What `memalpha doctor` finds, one thing at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from memalpha.errors import MemalphaError

BROKEN = (MemalphaError, OSError, RecursionError, ValueError)
"""What reading a file that is not as it should be may raise."""

Lacks = Literal["note", "bad"]
"""What it means that this machine lacks something."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: fine, worth knowing, or in the way."""

    name: str
    state: Literal["ok", "note", "bad"]
    text: str


def tried(name: str, look: Callable[[], Finding]) -> Finding:
    """What a look finds, also if it comes upon what is broken."""
    try:
        return look()
    except BROKEN as error:
        return Finding(name, "bad", f"failed: {error}")
