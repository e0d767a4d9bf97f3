"""A model that takes its time and does nothing: conversations, and the system and the reader that ask it.

How long each call takes is drawn beforehand from a seed and belongs to the call, not to the moment, so that
every runner meets the same model. Texts are as long as real ones, for they are what a runner writes down.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

from memalpha_evals.datasets import Conversation, Dataset, Question, Turn
from memalpha_evals.protocols import Answer, Context, Step, Usage
from memalpha_evals.streams import AskedQuestion, Stream

Kind = Literal["fixed", "log-normal"]
SIGMA = 0.6
_WORDS = 700
"""In a chunk, each about a token: two do not fit into 1,024 tokens."""
_STEP = Usage(1, 2000, 0, 450)
_ANSWER = Usage(1, 1200, 0, 60)
_WRITTEN = "A memory of some length that the model wrote about what it had read. " * 30
_SHOWN = "A memory of some length that is shown to the reader of the context. " * 60


@dataclass(frozen=True, slots=True)
class Latencies:
    """Seconds of every call: `steps` and `answers`, by conversation."""

    steps: tuple[tuple[float, ...], ...]
    answers: tuple[tuple[float, ...], ...]

    @property
    def calls(self) -> int:
        """How many calls there are."""
        return sum(map(len, self.steps)) + sum(map(len, self.answers))

    @property
    def work(self) -> float:
        """Seconds of all calls together."""
        return sum(map(sum, self.steps)) + sum(map(sum, self.answers))

    @property
    def longest_chain(self) -> float:
        """Seconds of the longest chain of calls that wait for one another: no runner is faster."""
        chains = zip(self.steps, self.answers, strict=True)
        return max(sum(steps) + max(answers, default=0) for steps, answers in chains)


def latencies(
    kind: Kind, median: float, *, conversations: int, chunks: tuple[int, int], questions: int, seed: int
) -> Latencies:
    """Draws them.

    Args:
        kind: All alike, or log-normal with `SIGMA`.
        median: Seconds.
        conversations: How many.
        chunks: Least and most of one.
        questions: Of each.
        seed: Of lengths and latencies; lengths are the same for both kinds.
    """
    lengths, times = Random(seed), Random(f"{seed} {kind}")

    def draw() -> float:
        return median if kind == "fixed" else times.lognormvariate(math.log(median), SIGMA)

    counts = [lengths.randint(*chunks) for _ in range(conversations)]
    return Latencies(
        tuple(tuple(draw() for _ in range(count)) for count in counts),
        tuple(tuple(draw() for _ in range(questions)) for _ in counts),
    )


def dataset(times: Latencies, seed: int) -> Dataset:
    """Conversations of as many chunks and questions as there are latencies."""
    words = Random(seed)
    chains = enumerate(zip(times.steps, times.answers, strict=True))
    return Dataset(
        "stub",
        "0" * 64,
        tuple(_conversation(n, len(steps), len(asked), words) for n, (steps, asked) in chains),
    )


def _conversation(number: int, turns: int, questions: int, words: Random) -> Conversation:
    said = tuple(Turn(str(place), _text(words), "", "Ann") for place in range(turns))
    asked = tuple(
        Question(
            f"What was said about thing {place}?", "made", "nothing", frozenset(), (), id=f"{number} {place}"
        )
        for place in range(questions)
    )
    return Conversation(str(number), said, asked)


def _text(words: Random) -> str:
    return " ".join(
        words.choice(["house", "street", "dog", "river", "table", "blue", "green", "walk"])
        for _ in range(_WORDS)
    )


@dataclass(frozen=True, slots=True)
class StubSystem:
    """A `System` whose steps take their time."""

    times: Latencies
    name: str = "stub"
    about: str = "waits, and remembers nothing"
    query_aware: bool = False

    @property
    def identity(self) -> Mapping[str, Any]:
        """See `System`."""
        return {"system": self.name}

    def steps(self, stream: Stream) -> int:
        """See `System`."""
        return len(stream.chunks)

    async def open(self, stream: Stream, asked: AskedQuestion | None) -> _StubSession:
        """See `System`."""
        return _StubSession(self.times.steps[int(stream.id)])


@dataclass(frozen=True, slots=True)
class _StubSession:
    times: tuple[float, ...]

    async def step(self, place: int) -> Step:
        await asyncio.sleep(self.times[place])
        return Step({"text": _WRITTEN}, _STEP)

    async def replay(self, place: int, step: Step) -> None:
        """Nothing is remembered."""

    async def context(self, asked: AskedQuestion, budget: int) -> Context:
        return Context(_SHOWN, budget, budget)

    async def close(self) -> None:
        """Nothing is held."""


@dataclass(frozen=True, slots=True)
class StubReader:
    """A `Reader` that takes its time. Ids of questions are conversation and place."""

    times: Latencies
    name: str = "stub"
    about: str = "waits, and knows nothing"
    model_free: bool = True

    @property
    def identity(self) -> Mapping[str, Any]:
        """See `Reader`."""
        return {"reader": self.name}

    async def answer(self, context: Context, asked: AskedQuestion) -> Answer:
        """See `Reader`."""
        conversation, _, place = asked.id.partition(" ")
        await asyncio.sleep(self.times.answers[int(conversation)][int(place)])
        return Answer("nothing", _ANSWER)
