"""How much of a turn a text holds: by pairs of neighbouring content words, as ROUGE-2 recall does.

A pair is two content words of one sentence with nothing but function words between them, stemmed, in order
(Lin 2004, section 3, on stems without function words). It survives what a writer may do to a sentence: "I
have adopted a dog" and "Caroline adopted the dog" share (adopt, dog). Single words do not say that a fact
is there: a long text holds many words of any turn, and a list of words holds them all. Pairs of a turn are
hardly ever in a text that is about something else, however long it is; what that is worth by chance is
measured beside every score, with the evidence of another conversation.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import snowballstemmer

from memalpha_evals.retrieval.retrievers import FUNCTION_WORDS

Pair = tuple[str, ...]
_SENTENCE_END = re.compile(r"[.!?…。！？]+(?:\s|$)|\n")
_WORD = re.compile(r"[^\W_]+")
# What is left of "don't", "I've" or "she'll" behind the apostrophe, and of "p.m." between its points.
_TAILS = frozenset(["s", "t", "m", "d", "ll", "ve", "re"])
_STEMMER = snowballstemmer.stemmer("english")


@dataclass(frozen=True, slots=True)
class Content:
    """What a text is made of; made once, compared often. `words` are stems of content words."""

    pairs: frozenset[Pair]
    words: frozenset[str]


def content(text: str) -> Content:
    """The pairs and words of a text; a word that is alone in its sentence is in no pair."""
    sentences = [_stems(sentence) for sentence in _SENTENCE_END.split(text)]
    pairs = {pair for stems in sentences for pair in pairwise(stems)}
    return Content(frozenset(pairs), frozenset(stem for stems in sentences for stem in stems))


def held_pairs(turns: Sequence[Content], text: Content) -> float:
    """Share of the turns' pairs that a text holds, as the mean of the turns."""
    return _mean(len(turn.pairs & text.pairs) / len(turn.pairs) for turn in turns)


def held_words(turns: Sequence[Content], text: Content) -> float:
    """The same of words; for comparison only."""
    return _mean(len(turn.words & text.words) / len(turn.words) for turn in turns)


def _stems(sentence: str) -> list[str]:
    words = _WORD.findall(sentence.lower())
    return [_stem(word) for word in words if word not in FUNCTION_WORDS and word not in _TAILS]


@lru_cache(maxsize=100_000)
def _stem(word: str) -> str:
    return _STEMMER.stemWord(word)


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return sum(listed) / len(listed)
