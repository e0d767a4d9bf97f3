"""A system, a reader and a data set without any model, whose work can be slow, fail, or be seen."""

import asyncio
import hashlib
from collections.abc import Mapping
from typing import Any

from memalpha.errors import InternalError, make
from memalpha_evals.datasets import Conversation, Dataset, Question, Turn
from memalpha_evals.protocols import Answer, Context, ReplayError, Step, Usage
from memalpha_evals.runs import Comparison
from memalpha_evals.streams import AskedQuestion, Stream


class Hashing:
    """Its memory is a digest of all that it read: a step done twice, left out or out of order shows."""

    about = "a digest of what was read"

    def __init__(self, name="hashing", query_aware=False, builds=True, pause=0.0, broken=()):
        self.name, self.query_aware, self.builds, self.pause = name, query_aware, builds, pause
        self.broken = set(broken)
        self.identity: Mapping[str, Any] = {"system": name}
        self.generated: list[tuple[str, int]] = []
        self.replayed: list[tuple[str, int]] = []
        self.opened: list[tuple[Stream, AskedQuestion | None]] = []
        self.closed = 0

    def steps(self, stream: Stream) -> int:
        return len(stream.chunks) if self.builds else 0

    async def open(self, stream: Stream, asked: AskedQuestion | None):
        self.opened.append((stream, asked))
        return _Session(self, stream, asked)


class _Session:
    def __init__(self, system: Hashing, stream: Stream, asked: AskedQuestion | None) -> None:
        self.system, self.stream = system, stream
        self.state = asked.question.text if asked else ""
        self.read = 0

    async def step(self, place: int) -> Step:
        await asyncio.sleep(self.system.pause)
        if (self.stream.id, place) in self.system.broken:
            raise make(InternalError, "BROKEN", f"chunk {place} is broken")
        self.system.generated.append((self.stream.id, place))
        return Step(
            {"state": self._next(place)}, Usage(calls=1, prompt_tokens=10 + place, completion_tokens=3)
        )

    async def replay(self, place: int, step: Step) -> None:
        self.system.replayed.append((self.stream.id, place))
        if step.record["state"] != self._next(place):
            raise ReplayError(f"another state at step {place}")

    async def context(self, asked: AskedQuestion, budget: int) -> Context:
        return Context(f"{self.read} {self.state}", 2, stored_tokens=self.read)

    async def close(self) -> None:
        self.system.closed += 1

    def _next(self, place: int) -> str:
        assert place == self.read
        self.read += 1
        self.state = hashlib.sha256(f"{self.state}{self.stream.chunks[place].text}".encode()).hexdigest()[:12]
        return self.state


class Echo:
    """Says the context again."""

    name, about, model_free = "echo", "the context", True
    identity: Mapping[str, Any] = {"reader": "echo"}

    def __init__(self, pause=0.0):
        self.pause = pause
        self.asked: list[AskedQuestion] = []

    async def answer(self, context: Context, asked: AskedQuestion) -> Answer:
        self.asked.append(asked)
        await asyncio.sleep(self.pause)
        return Answer(context.text, Usage(calls=1, prompt_tokens=5, completion_tokens=1))


def dataset(*, conversations=3, turns=6, questions=4) -> Dataset:
    """Each conversation has a turn less than the one before; half of its questions are asked in its midst."""
    return Dataset(
        "made", "0" * 64, tuple(_conversation(n, turns - n, questions) for n in range(conversations))
    )


def _conversation(number: int, turns: int, questions: int) -> Conversation:
    said = tuple(
        Turn(f"t{place}", f"Ann: In town {number} street {place} stands house {place * 7}.", "", "Ann")
        for place in range(turns)
    )
    asked = tuple(
        Question(
            f"Which house stands in street {place}?",
            "places",
            f"house {place * 7}",
            frozenset([f"t{place}"]),
            (),
            until=turns // 2 if place % 2 else None,
        )
        for place in range(questions)
    )
    return Conversation(f"c{number}", said, asked)


def comparison(*systems: Hashing, reader=None, data: Dataset | None = None) -> Comparison:
    """Chunks of one turn."""
    return Comparison(data or dataset(), systems or (Hashing(),), reader or Echo(), 64, chunk_tokens=16)
