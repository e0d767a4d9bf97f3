"""The nearest examples: how a rule labels a sentence after labelled ones that a context holds.

Each of the `NEIGHBOURS` examples that share most with the sentence, weighed by rarity and against its own
length, votes for its label with what it shares.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache

from memalpha.policy.extractive.segment import Sentence
from memalpha.policy.extractive.similarity import stems_of
from memalpha_evals.readers.base import ABSTAINS
from memalpha_evals.readers.index import Index

NEIGHBOURS = 5
_EXAMPLE = re.compile(r"(?:Sentence|Sample): (.+?)(?:\n|; |\\n|\. | )Label: (\d+)", re.DOTALL)
_ASKED = re.compile(r"(?:Sentence|Sample): (.+?)(?:\n|$)")


def label(context: str, question: str) -> str:
    r"""The label of the question's sentence, in `\boxed{}`, or that there is no example of it."""
    index, labels = _examples(context)
    found = _ASKED.search(question)
    wanted = stems_of((found[1] if found else question).lower())
    scored = [
        (index.weight(stems & wanted) / (index.weight(stems | wanted) or 1.0), place)
        for place, stems in enumerate(index.stems)
    ]
    votes = Counter[str]()
    for score, place in sorted(scored, reverse=True)[:NEIGHBOURS]:
        votes[labels[place]] += score  # pyright: ignore[reportArgumentType] -- a counter of shares
    best, share = votes.most_common(1)[0] if votes else ("", 0.0)
    return rf"\boxed{{{best}}}" if share else ABSTAINS


@lru_cache(maxsize=16)
def _examples(context: str) -> tuple[Index, list[str]]:
    """The examples of a context, and their labels."""
    found = _EXAMPLE.findall(context)
    sentences = [Sentence(text, "", "", place) for place, (text, _) in enumerate(found)]
    return Index.of(sentences), [number for _, number in found]
