"""The ledger: a task whose truth is known, with readers that need no model.

A seed becomes a stream of dated statements about people and boats (`stream`): what is, what changes, what is
revoked, what is only rumoured. A policy writes a memory of it chunk by chunk (`memory`), and a deterministic
reader answers from four retrieved memories (`reader`), so that a wrong answer is the writer's doing. Text and
grammar come from one table (`wording`); scripted writers give the floor, the ceiling and what is to be beaten
(`writers`).
"""

from memalpha.tasks.ledger.memory import Written, write
from memalpha.tasks.ledger.questions import KINDS, NOT_KNOWN
from memalpha.tasks.ledger.reader import GRAMMAR, LITERAL, READERS, Answer, Reader
from memalpha.tasks.ledger.stream import ledger

__all__ = [
    "GRAMMAR",
    "KINDS",
    "LITERAL",
    "NOT_KNOWN",
    "READERS",
    "Answer",
    "Reader",
    "Written",
    "ledger",
    "write",
]
