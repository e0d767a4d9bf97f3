"""What this machine has: GPUs as their driver tells them and as far as they are to be used, and memory."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from memalpha.up import cgroup

_QUERY = (
    "nvidia-smi",
    "--query-gpu=index,uuid,name,memory.total,memory.free,driver_version",
    "--format=csv,noheader,nounits",
)
_SECONDS = 20
_VISIBLE = "CUDA_VISIBLE_DEVICES"
MIB, GIB = 2**20, 2**30


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU: its memory in bytes, None where the driver does not tell, and its driver's version."""

    name: str
    memory: int | None
    free: int | None
    driver: str
    index: int = 0
    uuid: str = ""

    @property
    def driver_major(self) -> int:
        """The first number of the driver's version."""
        found = re.match(r"\d+", self.driver)
        return int(found[0]) if found else 0


def gpus() -> list[Gpu]:
    """The GPUs of this machine; none where there is no driver that answers."""
    if shutil.which(_QUERY[0]) is None:
        return []
    try:
        done = subprocess.run(_QUERY, capture_output=True, text=True, timeout=_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return parsed(done.stdout)


def parsed(table: str) -> list[Gpu]:
    """GPUs out of the driver's table: index, identity, name, MiB in all and free, version in each line."""
    rows = [[cell.strip() for cell in line.split(",")] for line in table.splitlines()]
    return [
        Gpu(row[2], _bytes(row[3]), _bytes(row[4]), row[5], int(row[0]), row[1])
        for row in rows
        if len(row) == 6 and row[0].isdigit()
    ]


def visible(found: Sequence[Gpu], environment: Mapping[str, str]) -> list[Gpu]:
    """Those that CUDA_VISIBLE_DEVICES leaves, in its order; a name that is none of them ends its list.

    Indices are taken for the driver's: where GPUs differ, CUDA needs CUDA_DEVICE_ORDER=PCI_BUS_ID for that.
    """
    if _VISIBLE not in environment:
        return list(found)
    left: list[Gpu] = []
    for name in map(str.strip, environment[_VISIBLE].split(",")):
        gpu = _named(found, name)
        if gpu is None or gpu in left:
            break
        left.append(gpu)
    return left


def _named(found: Sequence[Gpu], name: str) -> Gpu | None:
    if name.startswith("MIG-"):
        # A slice of one of them: the driver's table has only the whole.
        return Gpu(name, None, None, found[0].driver, uuid=name) if found else None
    if name.isdigit():
        return next((gpu for gpu in found if gpu.index == int(name)), None)
    fits = [gpu for gpu in found if name and gpu.uuid.startswith(name)]
    return fits[0] if len(fits) == 1 else None


def _bytes(mib: str) -> int | None:
    return int(mib) * MIB if mib.isdigit() else None


def free_memory(table: Path = Path("/proc/meminfo")) -> int | None:
    """Bytes of memory that are to be had, on the machine and by its groups; None if neither is known."""
    known = (_available(table), cgroup.left())
    return min((each for each in known if each is not None), default=None)


def _available(table: Path) -> int | None:
    try:
        found = re.search(r"^MemAvailable:\s+(\d+) kB$", table.read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None
