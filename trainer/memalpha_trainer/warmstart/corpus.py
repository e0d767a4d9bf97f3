"""Text from which a tiny tokenizer learns the ledger's vocabulary: a word is one token, a name two.

Byte pairs are merged most frequent first, so frequencies decide. Syllables stand alone, far more often than
any word, so that their merges come before those of words that share letters with them; whole names do not
occur, so that none becomes a token. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from memalpha.agent import wire
from memalpha.agent.packs import PromptPack
from memalpha.tasks.ledger.wording import DISTRACTORS, HEDGES, WITH_FORMER, WORDINGS, sentence
from memalpha.tasks.ledger.words import ATTRIBUTES, EVENTS, PASSES, SYLLABLES, VALUES

_OFTEN = 40
"""Times that each word is written."""
_MOST_OFTEN = 4000
"""Times that each syllable is."""
_SLOT = re.compile(r"\{\w\}|\$\w+")


def texts(pack: PromptPack) -> Iterator[str]:
    """Syllables as names begin and end with them, then words, prompts and tool calls.

    Args:
        pack: Whose prompts the model is going to read.
    """
    for syllable in SYLLABLES:
        yield from (syllable, syllable.capitalize(), f" {syllable.capitalize()}") * _MOST_OFTEN
    templates = (pack.writer_system.template, pack.writer_user.template, pack.instructions(wire.get("lines")))
    for _ in range(_OFTEN):
        yield from _words()
        yield from (_SLOT.sub("0", template) for template in templates)
        yield from (f"[{letter}] (0) 0\nS={letter} 0\nS-{letter}\nE-{letter}\n" for letter in "abcdefgh")


def _words() -> Iterator[str]:
    for words in (ATTRIBUTES, PASSES, EVENTS, *VALUES.values()):
        yield from (f" {word}" for word in words)
    for template in (*HEDGES, *DISTRACTORS, WITH_FORMER, *(each.template for each in WORDINGS)):
        if "{c}" in template or "{n}" in template:
            yield _SLOT.sub("0", sentence(template))
            yield f" {_SLOT.sub('0', template)}\n"
