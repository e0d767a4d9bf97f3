"""The child process that holds one row's system: its memory and its CPU time are the system's own."""

import pickle
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from measure import resident_mb, settle
from peers import UnavailableError
from rows import Row


@dataclass(frozen=True)
class Loaded:
    """The first message: the row is checked and waits for its turns."""

    durability: str
    overlap: float | None
    live: bool | None
    approximate: str
    # Megabytes of the process, and how many of them came with loading.
    resident_mb: float | None
    held_mb: float | None


@dataclass(frozen=True)
class Absent:
    """The first message of a row that cannot be measured. One whose check fails dies instead."""

    reason: str


def main(connection: Connection, row: Row, directory: Path, data: Path) -> None:
    """Loads, checks, then takes a turn for each message until it is None."""
    try:
        workload = pickle.loads(data.read_bytes())
        system = row.source.open(directory)
        empty = resident_mb()
        ready = row.prepare(system, workload)
        settle()
    except (ImportError, UnavailableError) as error:
        missing = isinstance(error, ImportError)
        connection.send(Absent(f"not installed: {error}" if missing else str(error)))
        return
    resident = resident_mb()
    held = resident - empty if resident is not None and empty is not None else None
    connection.send(Loaded(system.durability, ready.overlap, ready.live, system.approximate, resident, held))
    while connection.recv():
        connection.send(ready.turn())
