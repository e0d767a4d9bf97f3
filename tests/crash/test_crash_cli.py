"""`memalpha memorize` brings a bank to the same end whether or not the memory service dies under it."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from crash_cli import BANK, DAYS, PARTS, Memorizer
from crash_service import Kill, Service, every_kill
from crash_state import Applied, BankState, bank_state

pytestmark = [pytest.mark.crash, pytest.mark.timeout(600)]

# The bank's creation is the first transaction and the first chunks are the second: those die before their
# commit. Repeated in the next life, they are the first, and die after it.
ON_APPENDING = [Kill("before_commit", 2), Kill("after_commit", 1)]


def memorized(folder: Path, *options: str, kills: Sequence[Kill] = ()) -> BankState:
    """The bank after the command has memorized the diary, through all `kills`."""
    with Service(folder / "data", *options, kills=kills) as service:
        memorizer = Memorizer(folder, service.address)
        with memorizer.services():
            memorizer.memorize_diary()
        assert service.deaths == list(kills), f"the diary ended before {kills[len(service.deaths)]}"
    with Service(folder / "data") as reopened:
        return bank_state(reopened.address, BANK)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> BankState:
    """The bank as a service without crashes leaves it."""
    state = memorized(tmp_path_factory.mktemp("undisturbed"))
    assert state.cursor == len(state.chunks) == PARTS * DAYS
    assert len(state.memories) > DAYS, "a diary that leaves few memories would compare little"
    assert any(isinstance(event, Applied) and event.verb == "update" for event in state.history)
    return state


@pytest.mark.parametrize("disk", ["real", "unsynced"])
def test_memorize_goes_on_through_a_service_killed_at_every_point(
    tmp_path: Path, undisturbed: BankState, disk: str
) -> None:
    kills = [*ON_APPENDING, *(kill for kill in every_kill(disk, seed=1) if kill not in ON_APPENDING)]
    state = memorized(tmp_path, "--vfs", disk, "--checkpoint-bytes", "1", kills=kills)
    assert state == undisturbed
