"""How busy an engine is: the time in which it has anything to do, and how full it is over all the time.

What is asked for beyond the engine's rows waits and does not make it busier.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Occupancy:
    """Counts requests in work from `begin` on; times are seconds of one clock and never go back.

    Attributes:
        rows: Most requests that the engine works on at once.
        begin: When counting begins.
    """

    rows: int
    begin: float
    _now: float = field(init=False)
    _inside: int = field(default=0, init=False)
    _busy: float = field(default=0.0, init=False)
    _filled: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        """Nothing is in work."""
        self._now = self.begin

    def enters(self, now: float) -> None:
        """A request is handed over."""
        self._pass(now)
        self._inside += 1

    def leaves(self, now: float) -> None:
        """A request is answered."""
        self._pass(now)
        self._inside -= 1

    def shares(self, now: float) -> tuple[float, float]:
        """Share of the time with at least one request in work, and mean of rows in work over all rows."""
        self._pass(now)
        passed = now - self.begin
        return (self._busy / passed, self._filled / self.rows / passed) if passed else (0.0, 0.0)

    def _pass(self, now: float) -> None:
        passed, self._now = now - self._now, now
        self._busy += passed * (self._inside > 0)
        self._filled += passed * min(self._inside, self.rows)
