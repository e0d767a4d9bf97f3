"""One text that a model writes anew with each chunk: what `overwrite` and `internal-state` have in common.

What a way of writing is: the words of its prompt, and which part of what the model says is kept. The text has
at most as many tokens as the run's budget and as a quarter of what the model can hold; longer ones are cut.
Where nothing is kept, because the model said nothing or did not finish its thought, the text stays as it was.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from memalpha.api.policy.v1alpha1.policy_service_pb2 import SamplingParams
from memalpha_evals.prompts import Prompt, ask, load, most_new_tokens
from memalpha_evals.protocols import Context
from memalpha_evals.streams import AskedQuestion, Stream
from memalpha_evals.systems.base import Design, SystemOptions
from memalpha_evals.systems.recording import Calls
from memalpha_evals.systems.shown import beginning
from memcore import count_tokens, split_tokens

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True, slots=True)
class Way:
    """A way of writing: `kept` takes what the model said; `extra` tokens may stand around what is kept."""

    name: str
    about: str
    template: str
    kept: Callable[[str], str]
    extra: int = 0


def rewriting(way: Way, options: SystemOptions) -> Design:
    """The query-aware system that writes in such a way.

    Raises:
        InvalidInputError: POLICY_NOT_NAMED.
        UnsupportedError: POLICY_MODEL_FREE.
    """
    limit = most_new_tokens(options.model(way.name), options.budget)
    prompt = load(TEMPLATES / way.template)

    async def begin(stream: Stream, asked: AskedQuestion | None, calls: Calls) -> _Text:
        assert asked is not None
        sampling = SamplingParams(max_tokens=limit + way.extra, temperature=options.temperature)
        return _Text(stream, asked.question.text, calls, way, prompt, sampling, limit)

    settings = {"prompt_digest": prompt.digest, "limit": limit, "temperature": options.temperature}
    return Design(way.name, way.about, begin, options, settings, query_aware=True, asks=True)


class _Text:
    def __init__(
        self,
        stream: Stream,
        question: str,
        calls: Calls,
        way: Way,
        prompt: Prompt,
        sampling: SamplingParams,
        limit: int,
    ) -> None:
        self._chunks = stream.chunks
        self._question = question
        self._calls = calls
        self._way = way
        self._prompt = prompt
        self._sampling = sampling
        self._limit = limit
        self._text = ""

    async def read(self, place: int) -> None:
        chunk = self._chunks[place]
        values = {
            "question": self._question,
            "memory": self._text,
            "time": chunk.event_time,
            "chunk": chunk.text,
            "limit": str(self._limit),
        }
        said = await ask(self._calls, self._prompt.chat(values), self._sampling)
        self._text = within(self._way.kept(said.text), self._limit) or self._text

    async def context(self, asked: AskedQuestion, budget: int) -> Context:
        fitted = beginning(self._text, budget)
        return Context(fitted.text, fitted.tokens, count_tokens(self._text), fitted.cut)

    async def close(self) -> None:
        """Nothing but a text is held."""


def within(text: str, tokens: int) -> str:
    """The beginning of a text that has so many tokens, or the text."""
    return text if count_tokens(text) <= tokens else split_tokens(text, tokens)[0]
