"""Which numbers of a step people are shown, in which order, and how they are written.

A number that no step has takes no room. Keys are those of `metrics.jsonl`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Line = Mapping[str, Any]
# Characters of the first column, "mean of 20" with its borders, of a usual number, and between columns.
_STEP_WIDTH, _CELL_WIDTH, _GAP = 14, 5, 2


@dataclass(frozen=True, slots=True)
class Column:
    """One number.

    Attributes:
        key: In a line of metrics.
        head: Above it.
        digits: After the point.
        rank: Columns of low rank stay when room is short.
    """

    key: str
    head: str
    digits: int
    rank: int

    def cell(self, value: float | None) -> str:
        """The number as it is shown; a dash if there is none, and no zero that is not one."""
        if value is None:
            return "–"
        small = 0 < abs(value) < 0.5 * 10**-self.digits
        return f"{value:.0e}" if small else f"{value:.{self.digits}f}"


COLUMNS = (
    Column("reward/total", "reward", 3, 0),
    Column("reward/qa", "answers", 3, 1),
    Column("reward/call", "calls", 2, 2),
    Column("reward/compression", "compr", 2, 3),
    Column("reward/content", "content", 2, 15),
    Column("ops/insert", "ins", 2, 6),
    Column("ops/update", "upd", 2, 7),
    Column("ops/delete", "del", 2, 8),
    Column("ops/failed", "failed", 2, 9),
    Column("ops/skip", "none", 2, 10),
    Column("completion/tokens", "tokens", 1, 11),
    Column("memory/tokens", "memory", 0, 12),
    Column("tokens/per_second", "tok/s", 0, 13),
    Column("seconds/collect", "write s", 1, 4),
    Column("seconds/train", "train s", 1, 5),
    Column("mismatch/max", "mismatch", 5, 14),
)


def shown(lines: Iterable[Line], width: int) -> list[Column]:
    """Columns that have a number in some line, as many as a table of `width` characters has room for."""
    keys = {key for line in lines for key, value in line.items() if isinstance(value, int | float)}
    room = width - _STEP_WIDTH
    kept = set[str]()
    for column in sorted((each for each in COLUMNS if each.key in keys), key=lambda each: each.rank):
        room -= max(len(column.head), _CELL_WIDTH) + _GAP
        if room >= 0:
            kept.add(column.key)
    return [column for column in COLUMNS if column.key in kept]


def mean(lines: Sequence[Line], key: str) -> float | None:
    """Mean over the lines that have the number."""
    found = [line[key] for line in lines if isinstance(line.get(key), int | float)]
    return sum(found) / len(found) if found else None


def remaining(lines: Sequence[Line], of: int) -> float | None:
    """Seconds until the last step, if steps go on taking what these took."""
    each = mean(lines, "seconds/step")
    return None if each is None or not lines else each * max(of - int(lines[-1]["step"]), 0)


def duration(seconds: float) -> str:
    """Two units at most: `2h 05m`, `3m 20s`, `9s`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h {minutes:02}m"
    return f"{minutes}m {rest:02}s" if minutes else f"{rest}s"
