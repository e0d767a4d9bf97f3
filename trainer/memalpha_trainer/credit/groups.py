"""Groups: the rollouts of one stream in one step, which are compared with one another and with no others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import fsum, sqrt

Group = tuple[int, int]
"""Step, and group within the step."""


def positions(groups: Iterable[Group]) -> list[list[int]]:
    """Where the members of each group stand, groups in the order in which they first appear."""
    found: dict[Group, list[int]] = {}
    for position, group in enumerate(groups):
        found.setdefault(group, []).append(position)
    return list(found.values())


def mean(values: Sequence[float]) -> float:
    """Their mean; 0 of none."""
    return fsum(values) / len(values) if values else 0.0


def deviation(values: Sequence[float]) -> float:
    """Their standard deviation (ddof 1); 0 of fewer than two."""
    if len(values) < 2:
        return 0.0
    middle = mean(values)
    return sqrt(fsum((value - middle) ** 2 for value in values) / (len(values) - 1))
