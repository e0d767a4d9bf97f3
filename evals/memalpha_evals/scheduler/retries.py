"""When a call that failed is made again, and when it is given up.

- `BusyError`: the model has too much to do. It is asked again and again, ever less often; `Gate` lets in
  less.
- `InvalidInputError`, `UnsupportedError`, `OutOfRangeError`: it would fail again. The piece of work is
  given up.
- Any other error: a few times. Then the piece of work is given up.
- `UnavailableError`: given up only if other calls of the same endpoint succeeded meanwhile. If none did,
  nobody is there, and that is no piece's fault: everything stops, and goes on another day.
- `CHANGED`: another policy answers than the one that the run is of. Everything stops at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from memalpha.agent.backoff import Backoff
from memalpha.errors import (
    BusyError,
    InvalidInputError,
    MemalphaError,
    OutOfRangeError,
    UnavailableError,
    UnsupportedError,
)

HOPELESS = (InvalidInputError, UnsupportedError, OutOfRangeError)
"""Errors of the call itself."""
CHANGED = "POLICY_CHANGED"
"""Reason of the error of an endpoint that serves something else than it did."""


class Outage(Exception):
    """An endpoint answers no call, or is another than it was. `error` is what the last call raised."""

    def __init__(self, error: MemalphaError) -> None:
        super().__init__(str(error) if error.reason == CHANGED else f"nobody answers: {error}")
        self.error = error


@dataclass(frozen=True, slots=True)
class Patience:
    """How often a call is made.

    Attributes:
        tries: Calls of one piece of work, the first one among them.
        busy_tries: Calls that were answered by `BusyError`, which count apart.
        pause: Between them.
    """

    tries: int = 4
    busy_tries: int = 60
    pause: Backoff = field(default_factory=lambda: Backoff(first=0.5, longest=20.0))


class Tries:
    """The calls of one piece of work."""

    def __init__(self, patience: Patience, successes: int) -> None:
        """None so far, and so many calls of the same endpoint that succeeded."""
        self._patience = patience
        self._successes = successes
        self._failed = self._busy = 0

    def pause(self, error: MemalphaError, successes: int) -> float | None:
        """Seconds until the next try after this error; None: give up.

        Args:
            error: What the call raised.
            successes: Calls of the same endpoint that succeeded so far.

        Raises:
            Outage: Nobody answers, or somebody else.
        """
        if error.reason == CHANGED:
            raise Outage(error)
        if isinstance(error, HOPELESS):
            return None
        if isinstance(error, BusyError):
            self._busy += 1
            left = self._busy < self._patience.busy_tries
            return self._patience.pause.pause(self._busy - 1) if left else None
        self._failed += 1
        if self._failed < self._patience.tries:
            return self._patience.pause.pause(self._failed - 1)
        if isinstance(error, UnavailableError) and successes == self._successes:
            raise Outage(error)
        return None
