"""What every adapter makes of its files: conversations whose questions name the turns that answer them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn, message or passage. `text` is what a memory holds of it; `time` is ISO 8601 or empty.

    `speaker` is who said it, or empty; some adapters put it before the text too.
    """

    id: str
    text: str
    time: str
    speaker: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """One question about a conversation.

    `evidence` holds ids of turns of the same conversation; `bad_evidence` what the file names as evidence
    though the conversation has no such turn.
    """

    text: str
    category: str
    answer: str
    evidence: frozenset[str]
    bad_evidence: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Conversation:
    """Turns in order, each with an id of its own, and the questions about them; or a pool of passages."""

    id: str
    turns: tuple[Turn, ...]
    questions: tuple[Question, ...]


@dataclass(frozen=True, slots=True)
class Dataset:
    """A file's conversations; `sha256` is of the file as it lies on disk.

    `unit` is what one turn is called. `apart` are categories that the overall row leaves out. `clusters` says
    which questions are drawn together by a bootstrap: those of a conversation, or each alone.
    """

    name: str
    sha256: str
    conversations: tuple[Conversation, ...]
    unit: Literal["turn", "message", "passage"] = "turn"
    apart: frozenset[str] = frozenset()
    clusters: Literal["conversations", "questions"] = "conversations"

    @property
    def turn_count(self) -> int:
        """Turns of all conversations."""
        return sum(len(conversation.turns) for conversation in self.conversations)

    def questions(self) -> Iterator[tuple[Conversation, Question]]:
        """All questions in file order, each with its conversation."""
        for conversation in self.conversations:
            for question in conversation.questions:
                yield conversation, question

    def cluster_of(self, conversation: Conversation, place: int) -> str:
        """The cluster of a question, by its place in the conversation."""
        return conversation.id if self.clusters == "conversations" else f"{conversation.id} {place}"

    def categories(self) -> list[str]:
        """Categories of the overall row, in order of first appearance."""
        present = dict.fromkeys(question.category for _, question in self.questions())
        return [name for name in present if name not in self.apart]
