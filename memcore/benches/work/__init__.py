"""What is measured: each function fills a system, checks what it answers, and gives back a turn to time."""

from dataclasses import dataclass

from measure import Turn


@dataclass(frozen=True)
class Ready:
    """A system that is loaded and checked."""

    turn: Turn
    # The share of the exact answer that was found, if there is one to compare with.
    overlap: float | None = None
    # Whether a write was found by the next search, without a rebuild or commit; None if that is not asked.
    live: bool | None = None
