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

    Attributes:
        text: As it is asked.
        category: The group it is averaged in.
        answer: The right one; empty if the file has none.
        evidence: Ids of turns of the same conversation.
        bad_evidence: What the file names as evidence though the conversation has no such turn.
        id: Its own within the conversation; empty: its place.
        aliases: Other right answers.
        options: Texts to choose from, without their letters; empty: the answer is free.
            `answer` is then the letter of the right one, from `a`.
        time: When it is asked, ISO 8601, or empty.
        until: How many of the conversation's turns come before it; None: all.
        unanswerable: The conversation does not say; the right answer is to say so.
        metric: What its own paper scores it by, a name of `memalpha.tasks.METRICS`; empty: the data set's.
        rubric: What a judge looks for, one nugget each.
    """

    text: str
    category: str
    answer: str
    evidence: frozenset[str]
    bad_evidence: tuple[str, ...]
    id: str = ""
    aliases: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    time: str = ""
    until: int | None = None
    unanswerable: bool = False
    metric: str = ""
    rubric: tuple[str, ...] = ()


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
    which questions depend on one another: those of a conversation, or none. `licence` is the data's, as its
    authors name it. `caveats` are sentences that a report has to show: known leaks between train and test,
    wrong labels, distractors from other sets. `metric` is its paper's, for questions that name none.
    """

    name: str
    sha256: str
    conversations: tuple[Conversation, ...]
    unit: Literal["turn", "message", "passage"] = "turn"
    apart: frozenset[str] = frozenset()
    clusters: Literal["conversations", "questions"] = "conversations"
    licence: str = ""
    caveats: tuple[str, ...] = ()
    metric: str = ""

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
