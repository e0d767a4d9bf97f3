"""From turns and texts to chunks: pieces of a stream that a policy reads one at a time.

Chunks end where people pause: between turns or paragraphs if possible, else between sentences, else between
words, and inside of a word only where nothing else is left. Nothing is dropped: what does not fit goes on in
the next chunk behind a visible marker, and the pieces without their markers add up to the text. Work is
linear in the text, so that one turn may hold megabytes. Tokens are o200k tokens.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256

from memalpha.api.agent.v1alpha1.agent_service_pb2 import MemorizeItem
from memalpha.api.memory.v1alpha1.memory_pb2 import Chunk
from memcore import count_tokens, split_tokens

CONTINUED = "[continued] "
"""Stands before what goes on from the chunk before."""
BLANK = "[blank] "
"""Stands before a first piece that is nothing but white space, which a chunk must not be."""

# A chunk holds at most 1 MiB of UTF-8 with up to 4 bytes a character; the rest is for names and markers.
_MOST_CHARACTERS = 250_000
MOST_SPEAKER_CHARACTERS = 200
_ENDS = (
    re.compile(r"\n[ \t\r]*\n\s*"),
    re.compile(r"\n|(?<=[.!?…])[\"'”’»)\]]*\s+|(?<=[。！？])"),
)


@dataclass(frozen=True, slots=True)
class Turn:
    """What somebody said, or a paragraph. `event_time` is ISO 8601; empty fields are unknown."""

    text: str
    speaker: str = ""
    event_time: str = ""
    source: str = ""


def pack(turns: Iterable[Turn], *, max_tokens: int = 1024) -> Iterator[Chunk]:
    """Packs turns into chunks of at most `max_tokens` tokens.

    A chunk holds turns of one day and one source. Its id is the SHA-256 (32 hex digits) over all turns up to
    its end, so the same stream gives the same ids, and a stream that grew at its end repeats only its last
    chunk.
    """
    packer = _Packer(max_tokens)
    for turn in turns:
        yield from packer.add(turn)
    yield from packer.finish()


def split_item(item: MemorizeItem, max_tokens: int) -> list[Chunk]:
    """The item as one chunk of its id, or as chunks `ITEM#1`, `ITEM#2` … if it is too long for one."""
    name = _name(item.speaker)
    texts = _with_markers(item.text, name, max_tokens)
    ids = [item.item_id] if len(texts) == 1 else [f"{item.item_id}#{n}" for n in range(1, len(texts) + 1)]
    return [
        Chunk(
            chunk_id=chunk_id,
            text=text,
            event_time=item.event_time,
            source=item.source,
            metadata=item.metadata,
        )
        for chunk_id, text in zip(ids, texts, strict=True)
    ]


def split_text(text: str, max_tokens: int) -> list[str]:
    """Pieces of at most `max_tokens` tokens that add up to the text, cut where it hurts least."""
    pieces: list[str] = []
    room = _Room(max_tokens)
    for unit, tokens in _units(text, max_tokens, 0):
        if not room.takes(unit, tokens):
            pieces.extend(_checked(room.empty(), max_tokens))
        room.put(unit, tokens)
    return [*pieces, *_checked(room.empty(), max_tokens)]


@dataclass(slots=True)
class _Room:
    """Texts that will become one piece."""

    max_tokens: int
    parts: list[str] = field(default_factory=list)
    tokens: int = 0
    characters: int = 0

    def takes(self, text: str, tokens: int) -> bool:
        """Whether the text fits in as well."""
        return self.tokens + tokens <= self.max_tokens and self.characters + len(text) <= _MOST_CHARACTERS

    def put(self, text: str, tokens: int) -> None:
        self.parts.append(text)
        self.tokens += tokens
        self.characters += len(text)

    def empty(self, between: str = "") -> str:
        text = between.join(self.parts)
        self.parts, self.tokens, self.characters = [], 0, 0
        return text


class _Packer:
    """The chunk that is being filled, and the digest of all that came so far."""

    def __init__(self, max_tokens: int) -> None:
        self._room = _Room(max_tokens)
        self._digest = sha256()
        self._chunk = Chunk()

    def add(self, turn: Turn) -> Iterator[Chunk]:
        """Takes a turn; yields the chunks that it completes. A blank turn says nothing and is left out."""
        if not turn.text.strip():
            return
        if self._room.parts and not self._together(turn):
            yield from self.finish()
        name = _name(turn.speaker)
        line, tokens = self._line(turn, name + turn.text)
        if self._room.takes(line, tokens):
            self._put(turn, turn.text, line, tokens)
            return
        yield from self.finish()
        for n, piece in enumerate(_with_markers(turn.text, name, self._room.max_tokens)):
            if n:
                yield from self.finish()
            self._put(turn, piece, piece, count_tokens(piece) + 1)

    def finish(self) -> Iterator[Chunk]:
        """Yields the chunk that is being filled, if it holds anything."""
        if self._room.parts:
            self._chunk.text = self._room.empty("\n")
            self._chunk.chunk_id = self._digest.hexdigest()[:32]
            yield self._chunk

    def _together(self, turn: Turn) -> bool:
        same_day = not turn.event_time or turn.event_time[:10] == self._chunk.event_time[:10]
        return same_day and turn.source == self._chunk.source

    def _line(self, turn: Turn, whole: str) -> tuple[str, int]:
        """The turn's line, its time before it if that is not the chunk's, and its tokens with the newline."""
        if self._room.parts and turn.event_time not in ("", self._chunk.event_time):
            whole = f"[{turn.event_time}]\n{whole}"
        if len(whole) > _MOST_CHARACTERS:
            return whole, self._room.max_tokens + 1
        return whole, count_tokens(whole) + 1

    def _put(self, turn: Turn, text: str, line: str, tokens: int) -> None:
        if not self._room.parts:
            self._chunk = Chunk(event_time=turn.event_time, source=turn.source)
        for part in (turn.event_time, turn.speaker, text):
            encoded = part.encode("utf-8", "surrogatepass")
            self._digest.update(len(encoded).to_bytes(8, "big") + encoded)
        self._room.put(line, tokens)


def _name(speaker: str) -> str:
    """What stands before a turn: the speaker on one line, cut at 200 characters, and a colon."""
    on_one_line = " ".join(speaker.split())[:MOST_SPEAKER_CHARACTERS]
    return f"{on_one_line}: " if on_one_line else ""


def _with_markers(text: str, name: str, max_tokens: int) -> list[str]:
    """The text behind its speaker; if it is split, `CONTINUED` stands before each later piece."""
    if len(text) <= _MOST_CHARACTERS and count_tokens(name + text) <= max_tokens:
        return [name + text]
    room = max_tokens - count_tokens(name + CONTINUED)
    first, *others = split_text(text, max(room, max_tokens // 2))
    head = name or ("" if first.strip() else BLANK)
    return [head + first, *(name + CONTINUED + other for other in others)]


def _units(text: str, max_tokens: int, level: int) -> Iterator[tuple[str, int]]:
    """Units of at most `max_tokens` tokens, with their counts: paragraphs, sentences, words, or less."""
    if level == len(_ENDS):
        yield from _blocks(text, max_tokens)
        return
    for part in _parts(text, _ENDS[level]):
        # Hardly any text has more than 8 characters a token: what is that long is split without counting.
        tokens = count_tokens(part) if len(part) <= 8 * max_tokens else max_tokens + 1
        if tokens <= max_tokens and len(part) <= _MOST_CHARACTERS:
            yield part, tokens
        else:
            yield from _units(part, max_tokens, level + 1)


def _parts(text: str, ends: re.Pattern[str]) -> Iterator[str]:
    start = 0
    for match in ends.finditer(text):
        if match.end() > start:
            yield text[start : match.end()]
            start = match.end()
    if start < len(text):
        yield text[start:]


def _blocks(text: str, max_tokens: int) -> Iterator[tuple[str, int]]:
    """Runs of words, each a small part of a piece, so that little room is lost where they do not fit."""
    size = max(max_tokens // 4, 8)
    for match in re.finditer(rf"[\s\S]{{1,{size}}}(?:(?<=\s)|(?=\s)|\S{{0,{size}}})", text):
        for piece in split_tokens(match.group(), max_tokens):
            yield piece, count_tokens(piece)


def _checked(piece: str, max_tokens: int) -> list[str]:
    """The piece, or what it has to be cut into because its units take more tokens together than alone."""
    if not piece:
        return []
    return [piece] if count_tokens(piece) <= max_tokens else list(split_tokens(piece, max_tokens))


def batches(chunks: Iterable[Chunk], *, most: int, most_bytes: int) -> Iterator[list[Chunk]]:
    """Cuts chunks into batches for one call: at most `most` chunks and, beyond a single one, `most_bytes`."""
    batch: list[Chunk] = []
    size = 0
    for chunk in chunks:
        chunk_size = chunk.ByteSize()
        if batch and (len(batch) == most or size + chunk_size > most_bytes):
            yield batch
            batch, size = [], 0
        batch.append(chunk)
        size += chunk_size
    if batch:
        yield batch
