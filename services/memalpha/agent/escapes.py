r"""How text is put between tags so that it cannot close them, and how it is read back.

Blocks of several lines keep their lines; only `</` becomes `<\/`. Text that has to stay on one line also has
its line breaks and backslashes escaped. Both ways are injective: whatever a text holds, reading gives it
back.
"""

from __future__ import annotations

import re

_BLOCK_ESCAPE = re.compile(r"<(\\*)/")
_BLOCK_UNESCAPE = re.compile(r"<\\(\\*)/")
_LINE_UNESCAPE = re.compile(r"\\(.)", re.DOTALL)
_BREAKS = {"n": "\n", "r": "\r"}


def block(text: str) -> str:
    """The text with every `</` made harmless."""
    return _BLOCK_ESCAPE.sub(r"<\\\1/", text)


def unblock(text: str) -> str:
    """What `block` was given."""
    return _BLOCK_UNESCAPE.sub(r"<\1/", text)


def line(text: str, also: str = "") -> str:
    """The text on one line; the characters of `also` are escaped too."""
    escaped = text.replace("\\", "\\\\")
    for character in also:
        escaped = escaped.replace(character, f"\\{character}")
    return escaped.replace("\n", "\\n").replace("\r", "\\r").replace("</", "<\\/")


def unline(text: str) -> str:
    """What `line` was given."""
    return _LINE_UNESCAPE.sub(lambda match: _BREAKS.get(match.group(1), match.group(1)), text)
