"""What a memory of the ledger still holds that it should not: stale values, and things said twice.

The stream says what is stale: a value that a key had and has no more, because it was changed, moved, revoked,
retracted or cancelled. It is kept if any memory states it as if it held, read as the literal reader does; as
what was before (`earlier Oslo`) it may be kept. A log of all chunks keeps every stale value: what was taken
back is still there, whether or not a later chunk says so.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from memalpha.api.memory.v1alpha1.memory_pb2 import Memory
from memalpha.tasks import Instance
from memalpha.tasks.ledger import grammar
from memalpha.tasks.ledger.grammar import Clause, Key
from memalpha.tasks.ledger.truth import REVOKED, VALID, Truth
from memalpha.tasks.ledger.wording import Act

Statement: TypeAlias = tuple[Key, str]
"""A key and the value that it is said to have."""

_STATUSES = {Act.VALID: (VALID,), Act.REVOKE: (REVOKED,)}
_NONE = (Act.RETRACT, Act.CANCEL, Act.FORMER)


@dataclass(frozen=True, slots=True)
class Kept:
    """What one memory keeps of one stream.

    Attributes:
        stale: For each stale value of the stream, in one order for all writers, whether it is kept.
        statements: How many the memories make.
        repeated: Those that another one made before.
    """

    stale: tuple[bool, ...]
    statements: int
    repeated: int


def kept(instance: Instance, memories: Iterable[Memory]) -> Kept:
    """Compares a stream's memories, core memory among them, with what the stream said."""
    stated = [each for memory in memories for each in _of_memory(memory)]
    distinct = set(stated)
    old = stale([chunk.text for chunk in instance.chunks])
    return Kept(tuple(each in distinct for each in old), len(stated), len(stated) - len(distinct))


def stale(chunks: Sequence[str]) -> list[Statement]:
    """What held at some time and does not hold at the end, in order of first telling."""
    truth, held = Truth(), defaultdict[Key, dict[str, None]](dict)
    for number, chunk in enumerate(chunks):
        for clause in grammar.strict(chunk):
            truth.tell([clause], number)
            if value := truth[clause.key].value:
                held[clause.key][value] = None
    return [(key, value) for key, values in held.items() for value in values if value != truth[key].value]


def _of_memory(memory: Memory) -> Iterator[Statement]:
    """Each once: a memory that repeats itself is still one memory."""
    clauses = grammar.loose(memory.content)
    told = ((clause.key, value) for clause in clauses for value in _values(clause, memory.event_time))
    return iter(dict.fromkeys(told))


def _values(clause: Clause, time: str) -> tuple[str, ...]:
    """As in `Truth`; of an event without a day in its text, the memory's time is its day."""
    if clause.act in _NONE:
        return ()
    return _STATUSES.get(clause.act, clause.values or (time,))
