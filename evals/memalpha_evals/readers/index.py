"""The sentences of a context with their content words, and how much each word tells."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from memalpha.policy.extractive.segment import Sentence
from memalpha.policy.extractive.similarity import stems_of
from memalpha_evals.readers import evidence


@dataclass(frozen=True, slots=True)
class Index:
    """Sentences, their word stems, and how many of them hold each stem."""

    sentences: Sequence[Sentence]
    stems: Sequence[frozenset[str]]
    holders: Counter[str]

    @classmethod
    def of(cls, sentences: Sequence[Sentence]) -> Index:
        """An index of sentences; a speaker's name is a word of what is said."""
        stems = [stems_of(f"{each.speaker} {each.text}".lower()) for each in sentences]
        return cls(sentences, stems, Counter(stem for each in stems for stem in each))

    def weight(self, stems: Iterable[str]) -> float:
        """Inverse document frequency, summed: the rarer, the more; most for words that no sentence has."""
        n = len(self.sentences)
        counts = (self.holders[stem] for stem in stems)
        return sum(math.log(1 + (n - count + 0.5) / (count + 0.5)) for count in counts)


@lru_cache(maxsize=16)
def indexed(context: str) -> Index:
    """The index of a context; many questions may be asked of one."""
    return Index.of(evidence.read(context))
