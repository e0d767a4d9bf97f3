r"""Which option an answer chooses: by its letter where it says one, else by the option's own text.

The letter has to be said as one: alone, in brackets, before a bracket or a stop, in `\boxed{}`, or after a
word such as `answer`. The article of `a dog` chooses nothing.
"""

import re
from collections.abc import Sequence
from string import ascii_lowercase

from memalpha_evals.scorers.words import words

_TAGGED = re.compile(r"<final_answer>(.*?)(?:</final_answer>|$)", re.DOTALL | re.IGNORECASE)
_SAID = (
    re.compile(r"\\boxed\{\s*\(?([a-z])\)?\s*\}", re.IGNORECASE),
    re.compile(r"^\W*([a-z])\W*$", re.IGNORECASE),
    re.compile(
        r"\b(?:answer|option|choice)\b(?:\s+is)?\s*:?\s*\(?([a-z])\)?(?=\s*(?:[.,:;]|$))", re.IGNORECASE
    ),
    re.compile(r"\(([a-z])\)", re.IGNORECASE),
    re.compile(r"^\s*([a-z])[).:]", re.IGNORECASE),
)


def chosen(answer: str, options: Sequence[str]) -> str:
    """The letter of the option that an answer chooses, from `a`; empty if it chooses none of them."""
    tagged = _TAGGED.findall(answer)
    text = tagged[-1] if tagged else answer
    for pattern in _SAID:
        if found := pattern.search(text):
            letter = found[1].lower()
            return letter if letter in ascii_lowercase[: len(options)] else ""
    return _by_text(text, options)


def _by_text(text: str, options: Sequence[str]) -> str:
    said = words(text)
    same = [letter for letter, option in zip(ascii_lowercase, options, strict=False) if words(option) == said]
    return same[0] if said and len(same) == 1 else ""
