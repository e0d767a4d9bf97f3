"""A conversation as systems read it: chunks in order, and when each question is asked.

Every system of a comparison reads the same chunks. A question that is asked before the end stands behind the
chunk that holds its last turn; no chunk reaches over that place, so that nothing later is known by then.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from memalpha.agent.chunking import Turn as Said
from memalpha.agent.chunking import pack
from memalpha_evals.datasets import Conversation, Question, Turn
from memcore import count_tokens

CHUNK_TOKENS = 1024


@dataclass(frozen=True, slots=True)
class StreamChunk:
    """What is read at once; `event_time` is ISO 8601 or empty, `tokens` are o200k tokens."""

    text: str
    event_time: str
    tokens: int


@dataclass(frozen=True, slots=True)
class AskedQuestion:
    """A question of a stream, asked once `after` chunks are read. `id` is its own within the stream."""

    id: str
    question: Question
    after: int


@dataclass(frozen=True, slots=True)
class Stream:
    """A conversation cut into chunks. `questions` are in order of `after`, then of the file."""

    id: str
    chunks: tuple[StreamChunk, ...]
    questions: tuple[AskedQuestion, ...]

    @property
    def tokens(self) -> int:
        """o200k tokens of all chunks."""
        return sum(chunk.tokens for chunk in self.chunks)

    def asked_after(self, chunks: int) -> tuple[AskedQuestion, ...]:
        """The questions that are asked when exactly so many chunks are read."""
        return tuple(each for each in self.questions if each.after == chunks)


def stream(conversation: Conversation, chunk_tokens: int = CHUNK_TOKENS) -> Stream:
    """Cuts a conversation into chunks of at most `chunk_tokens` o200k tokens."""
    turns = conversation.turns
    ends = {_until(question, turns) for question in conversation.questions} | {len(turns)}
    chunks: list[StreamChunk] = []
    after: dict[int, int] = {0: 0}
    start = 0
    for end in sorted(ends - {0}):
        chunks.extend(_chunks(turns[start:end], chunk_tokens))
        after[end] = len(chunks)
        start = end
    asked = [
        AskedQuestion(question.id or str(place), question, after[_until(question, turns)])
        for place, question in enumerate(conversation.questions)
    ]
    return Stream(conversation.id, tuple(chunks), tuple(sorted(asked, key=lambda each: each.after)))


def _until(question: Question, turns: Sequence[Turn]) -> int:
    return len(turns) if question.until is None else min(question.until, len(turns))


def _chunks(turns: Sequence[Turn], chunk_tokens: int) -> Iterator[StreamChunk]:
    said = (Said(_text(turn), turn.speaker, turn.time) for turn in turns)
    for chunk in pack(said, max_tokens=chunk_tokens):
        yield StreamChunk(chunk.text, chunk.event_time, count_tokens(chunk.text))


def _text(turn: Turn) -> str:
    """The text alone: the chunk names the speaker."""
    return turn.text.removeprefix(f"{turn.speaker}: ")
