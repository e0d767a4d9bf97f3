"""When two texts say the same: sets of stemmed content words, where a number or a "not" counts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from memalpha.policy.extractive.lexicon import STOP

_WORD = re.compile(r"[^\W_]+(?:['’.:@+-][^\W_]+)*")
_NEGATION = re.compile(
    r"\b(?:not|no longer|never|without|cannot|stopped|quit|gave up|isn't|wasn't|aren't|weren't|don't|doesn't"
    r"|didn't|can't|couldn't|won't|wouldn't|hasn't|haven't|hadn't|hates?|dislikes?)\b"
)


@dataclass(frozen=True, slots=True)
class Gist:
    """What a text is about: its content words' stems, those that hold a digit, and whether it is negated."""

    stems: frozenset[str]
    numbers: frozenset[str]
    negated: bool


def gist(text: str) -> Gist:
    """The gist of a text."""
    lower = text.lower().replace("’", "'")
    stems = stems_of(lower)
    numbers = frozenset(stem for stem in stems if any(char.isdigit() for char in stem))
    return Gist(stems, numbers, _NEGATION.search(lower) is not None)


def stems_of(text: str) -> frozenset[str]:
    """Stems of the content words of a lower-case text."""
    words = (word.removesuffix("'s") for word in _WORD.findall(text))
    return frozenset(stem(word) for word in words if word not in STOP)


def words_of(text: str) -> list[str]:
    """Stems of all words of a lower-case text but its articles, in order."""
    words = (word.removesuffix("'s") for word in _WORD.findall(text.replace("’", "'")))
    return [stem(word) for word in words if word not in ("a", "an", "the")]


@lru_cache(maxsize=20_000)
def stem(word: str) -> str:
    """A rough English stem: inflections of one word mostly meet."""
    for suffix, keep in (("ies", 3), ("ing", 4), ("ed", 3), ("es", 3), ("s", 3), ("e", 3), ("y", 3)):
        if word.endswith(suffix) and len(word) - len(suffix) >= keep and not word.endswith("ss"):
            word = word[: -len(suffix)]
            break
    return word[:-1] if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "ls" else word


def repeats(new: Gist, old: Gist) -> bool:
    """Whether `new` adds nothing to `old`: nearly all its words, all its numbers and its "not" are there."""
    if not new.stems or new.negated != old.negated or not new.numbers <= old.numbers:
        return False
    return len(new.stems & old.stems) >= 0.85 * len(new.stems)
