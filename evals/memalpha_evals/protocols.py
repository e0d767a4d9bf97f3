"""What a comparison is made of: systems that remember, readers that answer, and the records of both.

A system reads a stream chunk by chunk; each chunk is one step, and steps of one stream follow one another.
What a step did is a record from which it can be done again without a model, so that a run that was killed
goes on where it was. Between two steps a system is asked for contexts; a reader answers from a context and
the question alone. Systems of a run get the same chunks, the same questions and the same budget of tokens.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from memalpha_evals.streams import AskedQuestion, Stream


@dataclass(frozen=True, slots=True)
class Usage:
    """What model calls took: their number, and tokens as the model counts them."""

    calls: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        """Both together."""
        return Usage(
            self.calls + other.calls,
            self.prompt_tokens + other.prompt_tokens,
            self.cached_tokens + other.cached_tokens,
            self.completion_tokens + other.completion_tokens,
        )

    def to_dict(self) -> dict[str, int]:
        """Plain values; a runner asks for them at every call, and `asdict` takes its time."""
        return {
            "calls": self.calls,
            "prompt_tokens": self.prompt_tokens,
            "cached_tokens": self.cached_tokens,
            "completion_tokens": self.completion_tokens,
        }


NO_USAGE = Usage()


@dataclass(frozen=True, slots=True)
class Step:
    """What became of one chunk. `record` is plain JSON values: all that `Session.replay` needs."""

    record: Mapping[str, Any]
    usage: Usage = NO_USAGE


@dataclass(frozen=True, slots=True)
class Context:
    """What a reader is given for one question.

    Attributes:
        text: As the reader sees it.
        tokens: o200k tokens of the text; at most the budget.
        stored_tokens: o200k tokens of all that the system held when it was asked.
        truncated: The system had more to say than the budget let through.
    """

    text: str
    tokens: int
    stored_tokens: int
    truncated: bool = False


class Session(Protocol):
    """One system with one stream. The scheduler opens it, calls it from one task at a time, and closes it."""

    async def step(self, place: int) -> Step:
        """Reads chunk `place`: once each, in order from 0. May call a model.

        Raises:
            MemalphaError: It could not; the scheduler tries again, then gives the stream up.
        """
        ...

    async def replay(self, place: int, step: Step) -> None:
        """Does again what `step` did, from its record, without a model. Called before any `step`.

        Raises:
            ReplayError: The record is not of this step.
        """
        ...

    async def context(self, asked: AskedQuestion, budget: int) -> Context:
        """What a reader is given, in at most `budget` o200k tokens. Called between steps; no model."""
        ...

    async def close(self) -> None:
        """Frees what it holds. Called once."""
        ...


class System(Protocol):
    """A way to remember. One instance serves all streams of a run, many at once."""

    @property
    def name(self) -> str:
        """What rows and reports call it; a run has each name once."""
        ...

    @property
    def about(self) -> str:
        """How it works, in a line."""
        ...

    @property
    def query_aware(self) -> bool:
        """Whether it knows the question while it reads; the scheduler then opens a session for each."""
        ...

    @property
    def identity(self) -> Mapping[str, Any]:
        """All that its results depend on, as plain JSON values: models, versions, digests, settings."""
        ...

    def steps(self, stream: Stream) -> int:
        """How many steps it takes: the stream's chunks, or 0 if nothing is built beforehand."""
        ...

    async def open(self, stream: Stream, asked: AskedQuestion | None) -> Session:
        """A session before the first chunk; `asked` is given if the system is query-aware."""
        ...


@dataclass(frozen=True, slots=True)
class Answer:
    """What a reader says. `details` are plain JSON values, such as logprobs of options."""

    text: str
    usage: Usage = NO_USAGE
    details: Mapping[str, Any] = field(default_factory=dict)


class Reader(Protocol):
    """Answers from a context. One instance serves a run, many questions at once."""

    @property
    def name(self) -> str:
        """What rows and reports call it."""
        ...

    @property
    def about(self) -> str:
        """How it works, in a line."""
        ...

    @property
    def model_free(self) -> bool:
        """Whether it is a rule; its figures never stand beside a model's in one table."""
        ...

    @property
    def identity(self) -> Mapping[str, Any]:
        """All that its answers depend on, as plain JSON values."""
        ...

    async def answer(self, context: Context, asked: AskedQuestion) -> Answer:
        """Answers one question.

        Raises:
            MemalphaError: It could not; the scheduler tries again, then the row fails and scores 0.
        """
        ...


class ReplayError(Exception):
    """A record of `steps.jsonl` does not belong to the step that it should be replayed for."""
