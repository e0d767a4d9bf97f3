"""Text that ends where a stop text begins. Pure."""

from __future__ import annotations

from collections.abc import Sequence


class StopWatch:
    """Lets text through up to the first stop text, and holds back what may be the start of one."""

    def __init__(self, stops: Sequence[str]) -> None:
        """Without stop texts everything goes through at once."""
        self._stops = list(stops)
        self._held = ""
        self.stopped = False

    @property
    def idle(self) -> bool:
        """Whether there is nothing to watch for."""
        return not self._stops

    def push(self, text: str) -> str:
        """More text; returns what is certain to be part of the completion."""
        if self.stopped:
            return ""
        text, self._held = self._held + text, ""
        found = [place for stop in self._stops if (place := text.find(stop)) >= 0]
        if found:
            self.stopped = True
            return text[: min(found)]
        keep = max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def finish(self) -> str:
        """The text has ended: what was held back is part of it."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of a text that a stop text begins with."""
    most = min(len(text), len(stop) - 1)
    return next((length for length in range(most, 0, -1) if text.endswith(stop[:length])), 0)
