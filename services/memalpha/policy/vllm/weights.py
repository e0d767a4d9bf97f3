"""Weights under their numbers, looked at before they are loaded again.

What is loaded again is compared with what was served before, all of it, and must lie untouched until it is
loaded. A folder that was found to hold something else is not read again before a file of it has changed, and
is told of once. One that holds what it should and could not be loaded is tried again after a while: that may
have had reasons of the machine's.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from memalpha.errors import MemalphaError, UnavailableError, make
from memalpha.policy.marks import Mark, Stamps, check_untouched, mark, stamps
from memalpha.telemetry import get_logger

_log = get_logger(__name__)
# Until weights are tried again that could not be loaded though they are what they were.
REST_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights under their number, and what tells them from any others.

    `stamps` are of the time before the mark was taken.
    """

    folder: Path
    version: int
    mark: Mark
    stamps: Stamps = field(compare=False)


class Lookout:
    """Looks at folders. Belongs to whoever loads, one at a time; reads files, which takes its time."""

    def __init__(
        self,
        marked: Callable[[Path], Mark] = mark,
        stamped: Callable[[Path], Stamps] = stamps,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Over what tells a folder's weights and files as they are now, and the seconds that pass."""
        self._marked, self._stamped, self._clock = marked, stamped, clock
        # Weights that were found wanting: their files then, None if these say nothing, and why.
        self._wanting: dict[tuple[Path, int], tuple[Stamps | None, str]] = {}
        # Of those that were given up, until when.
        self._resting: dict[tuple[Path, int], float] = {}

    def look(self, weights: Weights) -> Stamps:
        """Stamps of files that hold what was served.

        Raises:
            UnavailableError: WEIGHTS_GONE.
        """
        place = weights.folder, weights.version
        known, why = self._wanting.get(place, (None, ""))
        if place in self._resting and self._clock() >= self._resting[place]:
            known, why = None, ""
        now = None
        try:
            now = self._stamped(weights.folder)
            if now != known:
                same = self._marked(weights.folder) == weights.mark
                why = "" if same else "are not those any more that were served"
        except MemalphaError as error:
            why = f"cannot be read any more ({shown(error)})"
        except Exception as error:  # noqa: BLE001 - whatever the reason, they are not to be had
            # It may pass and leave no trace in the files' stamps.
            now, why = None, f"cannot be read any more ({shown(error)})"
        if why or now is None:
            raise self._gone(weights, now, why)
        self.forget(weights)
        return now

    def check(self, weights: Weights, before: Stamps) -> None:
        """Refuses files that were touched since.

        Raises:
            InternalError: LOAD_FAILED.
        """
        try:
            now = self._stamped(weights.folder)
        except OSError:
            now = {}
        check_untouched(weights.folder, weights.version, before, now)

    def give_up(self, weights: Weights, before: Stamps, cause: BaseException) -> None:
        """Takes weights for gone that cannot be loaded, until files change or they have rested."""
        self._resting[weights.folder, weights.version] = self._clock() + REST_SECONDS
        self._gone(weights, before, f"could not be loaded again ({shown(cause)})")

    def forget(self, weights: Weights) -> None:
        """Weights that were found wanting were loaded all the same."""
        self._wanting.pop((weights.folder, weights.version), None)
        self._resting.pop((weights.folder, weights.version), None)

    def _gone(self, weights: Weights, files: Stamps | None, why: str) -> UnavailableError:
        place = weights.folder, weights.version
        if self._wanting.get(place, (None, ""))[1] != why:
            _log.error("weights are gone", path=str(place[0]), policy_version=place[1], why=why)
        self._wanting[place] = files, why
        soon = (
            f"tried again within {REST_SECONDS:g} s"
            if place in self._resting
            else "served once they are back"
        )
        rule = f"{why}; they will be {soon}, or newer ones served once they are loaded"
        message = f"weights of version {weights.version} in {weights.folder} {rule}"
        return make(UnavailableError, "WEIGHTS_GONE", message, policy_version=weights.version)


def shown(error: BaseException) -> str:
    """An error in one line, as errors travel in headers."""
    return " ".join((str(error) or type(error).__name__).split())[:400]
