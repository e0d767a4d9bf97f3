"""memcore's store in a directory, with a synced bank without vectors, for what works on it from outside."""

import multiprocessing
from collections.abc import Mapping, Sequence
from pathlib import Path

import memcore
from peers import Durability, System

BANK = "bench"


class MemcoreStore(System):
    durability: Durability = "synced"

    def __init__(self, directory: Path) -> None:
        # Rows that take turns share it: each opens it for its own turn.
        self.directory = directory.parent / "store"

    def fill(self, banks: Mapping[str, Sequence[str]]) -> None:
        """Makes these banks, with these memories, and closes the store; once, and in another process."""
        if not self.directory.exists():
            process = multiprocessing.get_context("spawn").Process(target=_fill, args=(self.directory, banks))
            process.start()
            process.join()


def _fill(directory: Path, banks: Mapping[str, Sequence[str]]) -> None:
    with memcore.Store.open(directory) as store:
        for bank_id, texts in banks.items():
            bank = store.create_bank(bank_id, durability="synced", embedder="none")
            if texts:
                bank.apply([memcore.Insert("semantic", text) for text in texts])


def open_system(directory: Path) -> System:
    """A store that is not open."""
    return MemcoreStore(directory)
