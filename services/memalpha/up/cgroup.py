"""Memory that control groups leave this process: a container's limit, which /proc/meminfo does not know.

Every group bounds all below it, up to the root. Version 2 has one tree of groups, version 1 one for memory
alone; a container may see its own group as a tree's root, whatever the group is called outside.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class _Tree:
    """A version's tree, and its names of what is allowed, what is taken, and what of that is given back."""

    root: str
    limit: str
    taken: str
    cached: str


_TWO = _Tree("", "memory.max", "memory.current", "inactive_file")
_ONE = _Tree("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def left(groups: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> int | None:
    """Bytes that may still be taken; None where no group sets a limit."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return None
    return min((room for line in lines for room in _rooms(groups, line)), default=None)


def _rooms(groups: Path, line: str) -> Iterator[int]:
    """What is left in each group of a line: number, controllers, path."""
    _, kinds, path = line.split(":", 2)
    if kinds and "memory" not in kinds.split(","):
        return
    tree = _ONE if kinds else _TWO
    group = Path(path.lstrip("/"))
    for each in (group, *group.parents):
        room = _room(groups / tree.root / each, tree)
        if room is not None:
            yield room


def _room(group: Path, tree: _Tree) -> int | None:
    """What is left in one group; files that were read, and are not in use, make room."""
    try:
        limit, taken = ((group / name).read_text().strip() for name in (tree.limit, tree.taken))
        cached = re.search(rf"^{tree.cached} (\d+)$", (group / "memory.stat").read_text(), re.MULTILINE)
    except OSError:
        return None
    if limit == "max":
        return None
    return max(0, int(limit) - int(taken) + (int(cached[1]) if cached else 0))
