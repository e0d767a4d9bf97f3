"""Which questions can be asked of a context itself: their answer stands in their evidence, word for word.

A reader that may only copy could answer these. Words are those of the strict scorers, so that `May 7th` and
`7 May` are one. A yes or a no stands anywhere and tells nothing. A question that says its answer itself
(`Which is older, Oslo or Rome?`) would be answered by any text about it, and is left out as well.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from memalpha_evals.datasets import Conversation, Dataset, Question, Turn
from memalpha_evals.readers.evidence import memories
from memalpha_evals.scorers.containment import CLOSED
from memalpha_evals.scorers.words import spans, words


@dataclass(frozen=True, slots=True)
class Asked:
    """A question that can be scored; `answers` are its right ones as words, `evidence` turns in order."""

    text: str
    category: str
    cluster: str
    answers: tuple[tuple[str, ...], ...]
    evidence: tuple[Turn, ...]

    def held(self, context: str) -> bool:
        """Whether one memory of a context says a right answer."""
        return any(_says(text, self.answers) for text, _ in memories(context))


@dataclass(frozen=True, slots=True)
class Asking:
    """What a conversation is asked, and of how many questions it is what is left.

    Attributes:
        answered: Questions with an answer and evidence, yes and no among them.
        anywhere: Those whose answer stands in a turn.
        verbatim: Those whose answer stands in a turn of the evidence.
        asked: Of these, those that do not say it themselves.
    """

    answered: int
    anywhere: int
    verbatim: int
    asked: tuple[Asked, ...]


def asking(dataset: Dataset, conversation: Conversation) -> Asking:
    """The questions of a conversation, without the categories that stand apart."""
    answered = [
        (place, question)
        for place, question in enumerate(conversation.questions)
        if question.answer and question.evidence and not question.unanswerable and not question.options
        if question.category not in dataset.apart
    ]
    found = [
        _asked(question, conversation, dataset.cluster_of(conversation, place))
        for place, question in answered
    ]
    verbatim = [each for each in found if _told(each.evidence, each)]
    anywhere = sum(_told(conversation.turns, each) for each in found)
    kept = tuple(each for each in verbatim if not _says(each.text, each.answers))
    return Asking(len(answered), anywhere, len(verbatim), kept)


def _told(turns: Sequence[Turn], asked: Asked) -> bool:
    return any(_says(text_of(turn), asked.answers) for turn in turns)


def _asked(question: Question, conversation: Conversation, cluster: str) -> Asked:
    texts = (words(each) for each in (question.answer, *question.aliases))
    answers = tuple(tuple(each) for each in texts if each and each not in CLOSED)
    evidence = tuple(turn for turn in conversation.turns if turn.id in question.evidence)
    return Asked(question.text, question.category, cluster, answers, evidence)


def text_of(turn: Turn) -> str:
    """What is said, without the speaker's name before it, which stands before every other turn too."""
    return turn.text.removeprefix(f"{turn.speaker}: ")


def _says(text: str, answers: Sequence[Sequence[str]]) -> bool:
    given = _words(text)
    return any(spans(answer, given) for answer in answers)


@lru_cache(maxsize=1 << 14)
def _words(text: str) -> tuple[str, ...]:
    """Of a memory; most are hits of several questions and fit several budgets."""
    return tuple(words(text))
