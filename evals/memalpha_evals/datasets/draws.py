"""How much of a data set is read: what a run does not ask for is never built.

Draws are seeded and depend on nothing but the file's own order, so the same draw of the same file gives the
same questions on every machine.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from random import Random
from typing import TypeVar

from memalpha.errors import InvalidInputError, make
from memalpha_evals.datasets.base import Conversation, Dataset

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Draw:
    """Which part of a data set is read.

    Attributes:
        conversations: Most conversations, the first of the file; 0: all.
        questions: Most questions over all conversations, drawn at random; 0: all.
        seed: Of the drawn questions, and of everything else that an adapter draws.
    """

    conversations: int = 0
    questions: int = 0
    seed: int = 42

    def __post_init__(self) -> None:
        """Refuses negative numbers."""
        for name in ("conversations", "questions", "seed"):
            if (value := getattr(self, name)) < 0:
                message = f"draw.{name} must be 0 or more, not {value}"
                raise make(InvalidInputError, "INVALID_DRAW", message, field=name, value=str(value))

    def first(self, items: Iterable[T]) -> Iterator[T]:
        """The first conversations, or what becomes them."""
        return islice(items, self.conversations or None)

    def some(self, count: int) -> list[int]:
        """Places of the drawn questions among so many, ascending."""
        if not self.questions or self.questions >= count:
            return list(range(count))
        return sorted(Random(self.seed).sample(range(count), self.questions))


ALL = Draw()
"""Everything."""


def drawn(dataset: Dataset, draw: Draw) -> Dataset:
    """The data set with the drawn questions and the conversations that have any; ids stay as they were."""
    wanted = set(draw.some(sum(len(each.questions) for each in dataset.conversations)))
    return replace(dataset, conversations=tuple(_kept(dataset.conversations, wanted)))


def _kept(conversations: Iterable[Conversation], wanted: set[int]) -> Iterator[Conversation]:
    place = 0
    for conversation in conversations:
        named = [
            (place + number, replace(question, id=question.id or str(number)))
            for number, question in enumerate(conversation.questions)
        ]
        place += len(named)
        if kept := tuple(question for at, question in named if at in wanted):
            yield replace(conversation, questions=kept)
