"""What is true after a stream of clauses, and when it became so.

Hedged clauses change nothing. Each key remembers the value it has, the one before, and the chunks that made
them so: the evidence of a question about it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from memalpha.tasks.ledger.grammar import Clause, Key
from memalpha.tasks.ledger.wording import Act

VALID, REVOKED = "valid", "revoked"


@dataclass(frozen=True, slots=True)
class State:
    """A key's state: value (a date, or a pass's status), former value, and the chunks that decided them.

    `value` is None where nothing was told or it was taken back; `mentioned` is the last chunk that said
    anything of the key, even a rumour.
    """

    value: str | None = None
    former: str | None = None
    since: int | None = None
    former_since: int | None = None
    mentioned: int | None = None


class Truth:
    """The states of all keys so far."""

    def __init__(self) -> None:
        """With nothing told."""
        self._states: dict[Key, State] = {}

    def __getitem__(self, key: Key) -> State:
        """The key's state; a key never told has an empty one."""
        return self._states.get(key, State())

    def uses(self, word: str) -> Counter[str]:
        """How many keys of an attribute have, or had before, each value."""
        held = [state for (_, each), state in self._states.items() if each == word]
        return Counter(value for state in held for value in (state.value, state.former) if value)

    def tell(self, clauses: Iterable[Clause], chunk: int) -> None:
        """Takes in the clauses of one chunk, in order."""
        for clause in clauses:
            self._states[clause.key] = _after(self[clause.key], clause, chunk)


def _after(state: State, clause: Clause, chunk: int) -> State:
    value = state.value if clause.hedged else _stated(clause)
    if value == state.value:
        return State(value, state.former, state.since, state.former_since, chunk)
    if value is None or state.value is None:
        return State(value, None, chunk, None, chunk)
    return State(value, state.value, chunk, state.since, chunk)


def _stated(clause: Clause) -> str | None:
    match clause.act:
        case Act.RETRACT | Act.CANCEL:
            return None
        case Act.VALID:
            return VALID
        case Act.REVOKE:
            return REVOKED
        case _:
            return clause.values[0]
