"""How much of a question's evidence its context holds.

The mean over the evidence turns of the share of their word pairs that the context has; see `coverage`. Word
for word would be a ruler for stores of raw text only: a constructed memory says "Caroline adopted a dog"
where the turn was "I have adopted a dog". A turn without any pair, such as "Yes!", is no evidence. What a
context holds by chance grows with its length and is not taken off here, so that shares are compared at one
budget only; `evals construct` takes it off.
"""

from __future__ import annotations

from functools import lru_cache

from memalpha_evals.coverage import Content, content, held_pairs
from memalpha_evals.datasets import Dataset
from memalpha_evals.rows import Row


class EvidenceRecall:
    """Looks evidence up in a data set."""

    def __init__(self, dataset: Dataset) -> None:
        """Of the data set that the rows are about."""
        self._texts = {
            conversation.id: {turn.id: turn.text for turn in conversation.turns}
            for conversation in dataset.conversations
        }
        self._evidence = {
            (conversation.id, question.id or str(place)): question.evidence
            for conversation in dataset.conversations
            for place, question in enumerate(conversation.questions)
        }

    def of(self, row: Row) -> float | None:
        """The share that a row's context holds; None if the question has no evidence, or the row failed."""
        names = self._evidence.get((row.conversation, row.question_id), frozenset())
        texts = self._texts.get(row.conversation, {})
        turns = [_content(texts[name]) for name in sorted(names) if name in texts]
        turns = [turn for turn in turns if turn.pairs]
        return held_pairs(turns, content(row.context)) if turns else None


@lru_cache(maxsize=4096)
def _content(text: str) -> Content:
    return content(text)
