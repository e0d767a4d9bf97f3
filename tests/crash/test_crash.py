"""No acknowledged write is lost or doubled, whenever the service dies and whatever its disk forgets."""

import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from crash_service import Kill, Service, every_kill
from crash_state import Applied, BankState, bank_state
from crash_workload import BANKS, Acknowledged, BankWriter, Loss, write_banks

pytestmark = [pytest.mark.crash, pytest.mark.timeout(600)]

SEEDS = range(int(os.environ.get("MEMALPHA_CRASH_SEEDS", "1")))
# Enough records for every kill of the schedule to come about.
STEPS = 100
# A checkpoint after each transaction.
OFTEN = ("--checkpoint-bytes", "1")
# A reply that is under way when a point is reached arrives before the service dies.
LINGER = ("--linger", "50")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, BankState]:
    """The banks as a service without crashes leaves them."""
    with Service(tmp_path_factory.mktemp("undisturbed")) as service:
        write_banks(service, STEPS)
        return {bank_id: bank_state(service.address, bank_id) for bank_id in BANKS}


def run(directory: Path, options: Sequence[str], kills: list[Kill]) -> dict[str, BankState]:
    """The banks after a run through all `kills`, once nothing acknowledged has turned out to be lost."""
    with Service(directory, *options, kills=kills) as service:
        acknowledged = write_banks(service, STEPS)
        assert service.deaths == kills, f"the workload ended before {kills[len(service.deaths)]}"
    expect_sound(directory)
    with Service(directory) as reopened:
        left = {bank_id: bank_state(reopened.address, bank_id) for bank_id in BANKS}
    for bank_id in BANKS:
        expect_kept(acknowledged[bank_id], left[bank_id])
    return left


def expect_kept(acknowledged: Acknowledged, left: BankState) -> None:
    """Everything acknowledged is in the bank, once."""
    if {chunk_id: position for chunk_id, position, _ in left.chunks} != acknowledged.positions:
        raise Loss("the chunks are not those that were acknowledged")
    if left.arrivals != list(acknowledged.positions):
        raise Loss("chunks arrived in another order, or twice")
    if left.cursor != acknowledged.cursor:
        raise Loss(f"the cursor is {left.cursor}, acknowledged was {acknowledged.cursor}")
    applied = [event for event in left.history if isinstance(event, Applied)]
    made = [event.memory_id for event in applied if event.verb == "insert" and not event.error]
    if made != acknowledged.memory_ids:
        raise Loss("the memories that were made are not those that were acknowledged")


def expect_sound(directory: Path) -> None:
    """SQLite finds nothing wrong with the database."""
    with closing(sqlite3.connect(directory / "memory.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("disk", ["real", "unsynced", "torn"])
def test_a_service_killed_at_every_point_keeps_all_it_acknowledged(
    tmp_path: Path, undisturbed: dict[str, BankState], disk: str, seed: int
) -> None:
    left = run(tmp_path, [*OFTEN, "--vfs", disk, "--seed", str(seed)], every_kill(disk, seed))
    assert left == undisturbed


@pytest.mark.parametrize(
    "faulty",
    [
        ["--vfs", "unsynced", "--fault", "never-sync"],
        ["--vfs", "unsynced", "--fault", "never-sync", *OFTEN],
        ["--fault", "reply-before-commit", *LINGER],
    ],
    ids=["never-sync", "never-sync-checkpoints", "reply-before-commit"],
)
def test_the_same_run_turns_red_on_a_service_with_a_planted_fault(tmp_path: Path, faulty: list[str]) -> None:
    with pytest.raises(Loss):
        run(tmp_path, faulty, [Kill("before_commit", 20)])


@pytest.mark.parametrize(
    "faulty",
    [["--vfs", "unsynced", "--fault", "never-sync"], ["--fault", "reply-before-commit", *LINGER]],
    ids=["never-sync", "reply-before-commit"],
)
def test_a_planted_fault_loses_acknowledged_chunks_in_a_crash_and_only_there(
    tmp_path: Path, faulty: list[str]
) -> None:
    append_on_both_sides(tmp_path / "calm", faulty, kills=[])
    with pytest.raises(Loss, match=r"were stored at|there is no bank"):
        append_on_both_sides(tmp_path / "crashed", faulty, kills=[Kill("before_commit", 5)])


def append_on_both_sides(directory: Path, faulty: list[str], kills: list[Kill]) -> None:
    """Appends chunks to a sound service and then to a faulty one on the same directory."""
    with Service(directory) as sound, BankWriter(sound, "ada") as writer:
        writer.create()
        writer.append(10)
    with Service(directory, *faulty, kills=kills) as service:
        with BankWriter(service, "ada", writer.acknowledged) as writer:
            for _ in range(10):
                writer.append(1)
            writer.repeat()
        expect_kept(writer.acknowledged, bank_state(service.address, "ada"))
