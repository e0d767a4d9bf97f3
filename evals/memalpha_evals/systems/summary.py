"""`summary`: the newest chunks as they are, and a running summary of everything before.

Half of the budget is for chunks; what no longer fits in it is folded into the summary, the oldest first, by
one model call. The summary has at most the other half. A summary that comes back empty leaves the old one,
and what was to be folded in is forgotten. Nothing of this looks at a question.
"""

from __future__ import annotations

from memalpha.api.policy.v1alpha1.policy_service_pb2 import SamplingParams
from memalpha_evals.prompts import Prompt, ask, load, most_new_tokens
from memalpha_evals.protocols import Context
from memalpha_evals.streams import AskedQuestion, Stream
from memalpha_evals.systems.base import Design, SystemOptions
from memalpha_evals.systems.recording import Calls
from memalpha_evals.systems.rewritten import TEMPLATES, within
from memalpha_evals.systems.shown import Stretch, beginning, newest
from memcore import count_tokens

NAME = "summary"
_TAGS = 16
"""Tokens kept free for the tags around the summary."""


def summary(options: SystemOptions) -> Design:
    """The system `summary`.

    Raises:
        InvalidInputError: POLICY_NOT_NAMED.
        UnsupportedError: POLICY_MODEL_FREE.
    """
    half = options.budget // 2
    limit = most_new_tokens(options.model(NAME), half - _TAGS)
    prompt = load(TEMPLATES / "summary")

    async def begin(stream: Stream, asked: AskedQuestion | None, calls: Calls) -> _Summary:
        sampling = SamplingParams(max_tokens=limit, temperature=options.temperature)
        return _Summary(stream, calls, prompt, sampling, half)

    settings = {
        "prompt_digest": prompt.digest,
        "limit": limit,
        "buffer": half,
        "temperature": options.temperature,
    }
    about = "the newest chunks, and the model's running summary of those before"
    return Design(NAME, about, begin, options, settings, asks=True)


class _Summary:
    def __init__(
        self, stream: Stream, calls: Calls, prompt: Prompt, sampling: SamplingParams, buffer: int
    ) -> None:
        self._chunks = stream.chunks
        self._calls = calls
        self._prompt = prompt
        self._sampling = sampling
        self._most = buffer
        self._buffer: list[Stretch] = []
        self._summary = ""

    async def read(self, place: int) -> None:
        chunk = self._chunks[place]
        buffer = [*self._buffer, Stretch(chunk.text, chunk.event_time, chunk.tokens)]
        folded = list[Stretch]()
        while sum(each.room for each in buffer) > self._most:
            folded.append(buffer.pop(0))
        if folded:
            self._summary = await self._folded(folded) or self._summary
        self._buffer = buffer

    async def _folded(self, stretches: list[Stretch]) -> str:
        limit = self._sampling.max_tokens
        values = {"memory": self._summary, "chunk": _shown(stretches), "limit": str(limit)}
        said = await ask(self._calls, self._prompt.chat(values), self._sampling)
        return within(said.text, limit)

    async def context(self, asked: AskedQuestion, budget: int) -> Context:
        head = beginning(f"<summary>\n{self._summary}\n</summary>", budget // 2) if self._summary else None
        rest = newest(self._buffer, budget - head.tokens - 1 if head else budget)
        whole = beginning("\n".join([*([head.text] if head else []), rest.text]), budget)
        stored = count_tokens(self._summary) + sum(each.tokens for each in self._buffer)
        cut = whole.cut or rest.cut or (head is not None and head.cut)
        return Context(whole.text, whole.tokens, stored, cut)

    async def close(self) -> None:
        """Nothing but texts are held."""


def _shown(stretches: list[Stretch]) -> str:
    return "\n".join(each.shown for each in stretches)
