"""`extract`: a reader that is no model. It takes one sentence of the context and gives its words that answer.

The rule, in full. Sentences are scored by the inverse document frequency of the question's word stems that
they hold (the speaker's name counts), divided by a slowly growing function of their length; a question counts
half. If the best sentence holds less than `least` of the question's weight, the reader abstains. Else the
first of the best `tries` sentences that has words of the kind that is asked for (`spans`) gives them, and
failing that the best one is the answer as it is. Nothing is drawn; of equal sentences the later one counts.
Options are chosen from as `choice` does without a model, and labels are given by the nearest examples.

It reads dates and names well and understands nothing: a floor for what a context holds, not a model's score.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from memalpha.policy.extractive.similarity import stems_of
from memalpha_evals.protocols import Answer, Context
from memalpha_evals.readers import labels, spans
from memalpha_evals.readers.base import ABSTAINS
from memalpha_evals.readers.choice import ByOverlap
from memalpha_evals.readers.index import Index, indexed
from memalpha_evals.streams import AskedQuestion

_USUAL_LENGTH = 10
"""Content words of a sentence whose score stays as it is."""


@dataclass(frozen=True, slots=True)
class ExtractReader:
    """The rule; see the module.

    Attributes:
        least: Share of the question's weight that the best sentence must hold.
        slope: How much length counts, from 0 to 1.
        tries: Sentences that are looked at for words of the right kind.
    """

    least: float = 0.3
    slope: float = 0.4
    tries: int = 5

    name = "extract"
    about = "a rule: the sentence that shares most with the question, and its words of the right kind"
    model_free = True

    @property
    def identity(self) -> Mapping[str, Any]:
        """See `Reader.identity`."""
        return {"reader": self.name, **asdict(self)}

    async def answer(self, context: Context, asked: AskedQuestion) -> Answer:
        """See `Reader.answer`."""
        if asked.question.options:
            return await ByOverlap().answer(context, asked)
        if asked.question.metric == "label":
            return Answer(labels.label(context.text, asked.question.text))
        return Answer(self.read(context.text, asked.question.text))

    def read(self, context: str, question: str) -> str:
        """The answer to a question from a context."""
        index, wanted = indexed(context), stems_of(question.lower())
        ranked = self._ranked(index, wanted)
        if not ranked or index.weight(index.stems[ranked[0]] & wanted) < self.least * index.weight(wanted):
            return ABSTAINS
        sentences = [index.sentences[place] for place in ranked[: self.tries]]
        found = (spans.find(question, sentence) for sentence in sentences)
        return next(filter(None, found), sentences[0].text)

    def _ranked(self, index: Index, wanted: frozenset[str]) -> list[int]:
        """Places of the sentences that share a word with the question, best first."""
        scores = {place: self._score(index, place, wanted) for place in range(len(index.sentences))}
        found = (place for place, score in scores.items() if score)
        return sorted(found, key=lambda place: (-scores[place], -place))

    def _score(self, index: Index, place: int, wanted: frozenset[str]) -> float:
        stems = index.stems[place]
        length = 1 - self.slope + self.slope * len(stems) / _USUAL_LENGTH
        asks = 2 if index.sentences[place].text.endswith("?") else 1
        return index.weight(stems & wanted) / length / asks
