"""Plain text: every paragraph is a turn."""

import re

from memalpha.agent.chunking import Turn
from memalpha.sources.files import Document

_BLANK_LINES = re.compile(r"\n(?:[ \t]*\n)+")


def turns(document: Document, speaker: str = "") -> list[Turn]:
    """Splits a text at its blank lines.

    Args:
        document: the text.
        speaker: who says it, if anybody does.
    """
    paragraphs = (paragraph.strip("\n") for paragraph in _BLANK_LINES.split(document.text))
    return [
        Turn(text=paragraph, speaker=speaker, source=document.name)
        for paragraph in paragraphs
        if paragraph.strip()
    ]
