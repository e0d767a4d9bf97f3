"""The sides of a comparison: one system of one run each, with its rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from memalpha.errors import InvalidInputError, NotFoundError, make
from memalpha_evals import runs, scorers
from memalpha_evals.compare.facts import Facts, facts
from memalpha_evals.rows import Row


class Run(NamedTuple):
    """A run as it is compared: what to call it, its facts and its rows."""

    name: str
    facts: Facts
    rows: Sequence[Row]


def all_opened(folders: Sequence[Path]) -> list[Run]:
    """Runs of several folders, each called by the shortest end of its path that no other has.

    Raises:
        InvalidInputError: SAME_RUN.
        NotFoundError: NO_RUN.
        CorruptionError: DAMAGED_MANIFEST or DAMAGED_LINE.
    """
    paths = [folder.resolve() for folder in folders]
    for path, count in Counter(paths).items():
        if count > 1:
            message = f"each run must be named once, but {path} is named {count} times"
            raise make(InvalidInputError, "SAME_RUN", message, path=path)
    return [opened(path)._replace(name=_end(path, paths)) for path in paths]


def _end(path: Path, paths: Sequence[Path]) -> str:
    for count in range(1, len(path.parts)):
        end = path.parts[-count:]
        if sum(other.parts[-count:] == end for other in paths) == 1:
            return str(Path(*end))
    return str(path)


def opened(folder: Path) -> Run:
    """A run of a folder; rows that were not scored yet, because the run goes on, are scored here.

    Raises:
        NotFoundError: NO_RUN.
        CorruptionError: DAMAGED_MANIFEST or DAMAGED_LINE.
    """
    run = runs.read(folder)
    scored = [row if row.scores else replace(row, scores=scorers.score(row)) for row in run.rows]
    return Run(folder.resolve().name, facts(run.manifest, done=run.done), scored)


class Group(NamedTuple):
    """Sides whose figures may stand in one table: those that know as much, read by a like reader."""

    query_aware: bool
    model_free: bool

    @property
    def title(self) -> str:
        """What the table is called."""
        known = (
            "know the question while they read" if self.query_aware else "read before any question is known"
        )
        reader = "reader without a model" if self.model_free else "reader is a model"
        return f"Systems that {known}; {reader}"


@dataclass(frozen=True, slots=True)
class Side:
    """One system of one run.

    Attributes:
        name: Its own in the comparison.
        run: The run's name.
        rows: By conversation and question, in the run's order.
        seeds: How many runs it is the mean of.
    """

    name: str
    run: str
    system: str
    facts: Facts
    rows: Mapping[tuple[str, str], Row]
    seeds: int = 1

    @property
    def group(self) -> Group:
        """Whom it may be compared with."""
        return Group(self.facts.system(self.system).query_aware, self.facts.model_free)


def sides(runs: Sequence[Run], systems: Sequence[str] = ()) -> list[Side]:
    """All sides of some runs.

    Args:
        runs: One, whose systems are compared, or several.
        systems: Names of systems, or none for all; one that not every run has needs no counterpart.

    Raises:
        NotFoundError: NO_SYSTEM, or NO_ROWS.
        InvalidInputError: ONE_SIDE; nothing to compare with.
    """
    found = all_sides(runs)
    if unknown := set(systems) - {side.system for side in found}:
        known = ", ".join(dict.fromkeys(side.system for side in found))
        message = f"no run has a system {min(unknown)}; there are {known}"
        raise make(NotFoundError, "NO_SYSTEM", message, system=min(unknown))
    chosen = [side for side in found if not systems or side.system in systems]
    if len(chosen) < 2:
        message = "a comparison must have at least two sides: name two runs, or one with several systems"
        raise make(InvalidInputError, "ONE_SIDE", message)
    return chosen


def all_sides(runs: Sequence[Run]) -> list[Side]:
    """Each system of each run.

    Raises:
        NotFoundError: NO_ROWS.
    """
    return [side for run in runs for side in _of(run, several=len(runs) > 1)]


def caveats(compared: Sequence[Side]) -> list[str]:
    """What has to be said before any figure of these sides, each once."""
    return list(dict.fromkeys(note for side in compared for note in side.facts.notes))


def require_baseline(compared: Sequence[Side], baseline: str) -> None:
    """Refuses the name of a baseline that no side has; empty: none was named.

    Raises:
        NotFoundError: NO_BASELINE; it names the sides.
    """
    if baseline and not any(baseline in (side.name, side.system) for side in compared):
        known = ", ".join(side.name for side in compared)
        message = f"baseline must be a side or a system, of {known}; not {baseline!r}"
        raise make(NotFoundError, "NO_BASELINE", message, baseline=baseline)


def by_group(compared: Sequence[Side]) -> dict[Group, list[Side]]:
    """Sides by group, in order of first appearance."""
    groups: dict[Group, list[Side]] = {}
    for side in compared:
        groups.setdefault(side.group, []).append(side)
    return groups


def matched(members: Sequence[Side], baseline: str = "") -> list[tuple[Side, Side]]:
    """Which side of a group is compared with which baseline.

    Args:
        members: The group's sides; those of the first run come first.
        baseline: A side's or a system's name: all others are compared with it. Unless given, a system of a
            later run is compared with itself in the first run, and everything else with the first side.
    """
    named = [side for side in members if baseline in (side.name, side.system)]
    first = (named or members)[0]
    own = {side.system: side for side in members if side.run == members[0].run}
    pairs = []
    for side in members:
        against = first if named or side.run == members[0].run else own.get(side.system, first)
        if side is not against:
            pairs.append((side, against))
    return pairs


def _of(run: Run, *, several: bool) -> list[Side]:
    if not run.rows:
        raise make(NotFoundError, "NO_ROWS", f"run {run.name} has no rows yet", run=run.name)
    by_system: dict[str, dict[tuple[str, str], Row]] = {each.name: {} for each in run.facts.systems}
    for row in run.rows:
        by_system.setdefault(row.system, {})[row.conversation, row.question_id] = row
    return [
        Side(f"{run.name}/{system}" if several else system, run.name, system, run.facts, rows)
        for system, rows in by_system.items()
        if rows
    ]
