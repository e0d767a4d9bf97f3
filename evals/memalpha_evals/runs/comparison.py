"""What is compared: a data set, or a part of it, read by systems and answered by one reader."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256

from memalpha.errors import InvalidInputError, make
from memalpha_evals.datasets import Dataset, Question
from memalpha_evals.protocols import Reader, System
from memalpha_evals.streams import CHUNK_TOKENS, Stream, stream


@dataclass(frozen=True)
class Comparison:
    """All that decides which rows there will be.

    Attributes:
        dataset: Only what is read and asked.
        systems: Each name once.
        reader: Answers for all of them.
        budget: o200k tokens of a context.
        chunk_tokens: o200k tokens that are read at once, at most.
        policy_at: Where the policy that writes memory is, as it was named; it decides no row.
        reader_at: Likewise the reader's.
        left_out: Addresses of either where nobody answered; they decide no row either.
    """

    dataset: Dataset
    systems: tuple[System, ...]
    reader: Reader
    budget: int
    chunk_tokens: int = CHUNK_TOKENS
    policy_at: str = ""
    reader_at: str = ""
    left_out: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuses rows that could not be told apart."""
        _once("system", (system.name for system in self.systems))
        _once("conversation", (conversation.id for conversation in self.dataset.conversations))
        for each in self.streams:
            _once(f"question of {each.id}", (asked.id for asked in each.questions))
        if not self.row_count:
            message = f"{self.dataset.name} has no question to ask"
            raise make(InvalidInputError, "NO_QUESTIONS", message, dataset=self.dataset.name)

    @cached_property
    def streams(self) -> tuple[Stream, ...]:
        """The conversations cut into chunks, in order of the data set."""
        return tuple(stream(each, self.chunk_tokens) for each in self.dataset.conversations)

    @property
    def row_count(self) -> int:
        """How many rows there will be."""
        return len(self.systems) * sum(len(each.questions) for each in self.streams)

    @property
    def keys(self) -> set[tuple[str, str, str]]:
        """Keys of all rows that there will be."""
        asked = [(each.id, question.id) for each in self.streams for question in each.questions]
        return {(system.name, *key) for system in self.systems for key in asked}

    @cached_property
    def digest(self) -> str:
        """Of every chunk and every question: what must be the same when a run goes on."""
        found = sha256()
        for each in self.streams:
            parts = [each.id, *(f"{chunk.event_time} {chunk.text}" for chunk in each.chunks)]
            parts += [f"{asked.id} {asked.after} {_words(asked.question)}" for asked in each.questions]
            for part in parts:
                found.update(f"{len(part)} {part}".encode("utf-8", "surrogatepass"))
        return found.hexdigest()


def _once(what: str, names: Iterable[str]) -> None:
    for name, count in Counter(names).items():
        if count > 1:
            message = f"each {what} must be there once, but {name!r} is there {count} times"
            raise make(InvalidInputError, "NAMED_TWICE", message, name=name)


def _words(question: Question) -> str:
    """All of a question, the same in every process: sets have no order."""
    return f"{replace(question, evidence=frozenset())} {sorted(question.evidence)}"
