"""What people have on disk, read as turns: who said what, when.

Nothing is made up (a time without a zone stays without one) and nothing is dropped in silence: what cannot
be kept is an error that names its place. Every turn that leaves here is valid text for the memory.
"""

from dataclasses import replace
from enum import StrEnum
from pathlib import PurePath
from typing import Any

from memalpha.agent.chunking import Turn
from memalpha.sources import chat, locomo, markdown, text
from memalpha.sources.files import MAX_BYTES, Document, SourceError, load
from memalpha.sources.structured import parse_json
from memalpha.sources.times import event_time

__all__ = ["MAX_BYTES", "Format", "SourceError", "Turn", "event_time", "read"]


class Format(StrEnum):
    """How a file is read."""

    AUTO = "auto"
    TEXT = "text"
    MARKDOWN = "markdown"
    CHAT = "chat"
    LOCOMO = "locomo"


_BY_SUFFIX = {
    ".md": Format.MARKDOWN,
    ".markdown": Format.MARKDOWN,
    ".txt": Format.TEXT,
    ".text": Format.TEXT,
    ".jsonl": Format.CHAT,
    ".ndjson": Format.CHAT,
}


def read(
    path: str, format: Format = Format.AUTO, *, speaker: str = "", time: str = "", conversation: str = ""
) -> list[Turn]:
    """Reads a file, or standard input for `-`.

    Args:
        path: the file; it may be gzip.
        format: how to read it; `auto` goes by its name, then by its content.
        speaker: who says what the file gives no speaker for.
        time: when, where the file gives no time.
        conversation: which one of a LoCoMo file.

    Raises:
        SourceError: it cannot be read as that format.
    """
    document = load(path)
    chosen = detect(document) if format is Format.AUTO else format
    default_time = _option_time(time)
    turns = _turns(document, chosen, speaker, conversation)
    for number, turn in enumerate(turns, start=1):
        _check(turn, f"{document.name}, turn {number}")
    return [replace(turn, event_time=turn.event_time or default_time) for turn in turns]


def detect(document: Document) -> Format:
    """Tells a document's format.

    Raises:
        SourceError: it is JSON of an unknown form, or its name says JSON and it is none.
    """
    suffix = PurePath(document.name.removesuffix(".gz")).suffix.lower()
    if suffix in _BY_SUFFIX:
        return _BY_SUFFIX[suffix]
    if suffix == ".json":
        return _detect_json(document, parse_json(document.text, document.name))
    if document.text.lstrip()[0] in "[{":
        return _detect_content(document)
    return Format.TEXT


def _detect_content(document: Document) -> Format:
    first_line = document.text.lstrip().split("\n", 1)[0]
    for candidate in (document.text, first_line):
        try:
            value = parse_json(candidate, document.name)
        except SourceError:
            continue
        return _detect_json(document, value)
    return Format.TEXT


def _detect_json(document: Document, value: Any) -> Format:
    sample = value[0] if isinstance(value, list) and value else value
    if locomo.is_sample(sample):
        return Format.LOCOMO
    if chat.is_message(sample):
        return Format.CHAT
    raise SourceError(
        f"{document.name} is JSON, but neither chat messages nor LoCoMo; --format text takes it as it stands"
    )


def _turns(document: Document, format: Format, speaker: str, conversation: str) -> list[Turn]:
    if format is Format.LOCOMO:
        return locomo.turns(document, conversation)
    if conversation:
        raise SourceError(f"--conversation is for LoCoMo files; {document.name} is read as {format}")
    readers = {Format.TEXT: text.turns, Format.MARKDOWN: markdown.turns, Format.CHAT: chat.turns}
    return readers[format](document, speaker)


def _option_time(time: str) -> str:
    try:
        return event_time(time)
    except ValueError as error:
        raise SourceError(f"--time: {error}") from error


def _check(turn: Turn, where: str) -> None:
    for part in (turn.text, turn.speaker):
        if "\0" in part:
            raise SourceError(f"{where} holds a NUL at character {part.index(chr(0))}: it is not plain text")
        try:
            part.encode()
        except UnicodeEncodeError as error:
            code = f"U+{ord(part[error.start]):04X}"
            raise SourceError(
                f"{where} holds half of a surrogate pair, {code}, at character {error.start}"
            ) from error
