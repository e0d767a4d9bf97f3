"""`choice`: the option that a model finds likeliest, or, without a model, that the context supports most.

A model that gives logprobs is asked for those of each option's text after the prompt; the mean over its
tokens decides, so that length does not. Without a model an option's support is the share of its own words,
weighed by their rarity, that one sentence of the context holds; words that all options share count for
none. The answer is the option's letter; of equally likely ones the first. If the context supports no option
more than every other, as an empty one does, the rule abstains: always the same letter would be right as
often as the data have it. Questions without options are refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from memalpha.api.policy.v1alpha1.policy_service_pb2 import (
    ChatMessage,
    ChatPrompt,
    GenerateRequest,
    Role,
    SamplingParams,
    ScoreRequest,
    TokenizedPrompt,
)
from memalpha.errors import UnsupportedError, make
from memalpha.policy.extractive.similarity import stems_of
from memalpha_evals.endpoints import ScoringPolicy, policy_identity
from memalpha_evals.prompts import load
from memalpha_evals.protocols import Answer, Context, Reader, Usage
from memalpha_evals.readers.base import ABSTAINS, ReaderOptions, lettered, options_of
from memalpha_evals.readers.index import indexed
from memalpha_evals.streams import AskedQuestion

NAME = "choice"
TEMPLATE = Path(__file__).parent / "templates" / "choice"


def choice(options: ReaderOptions) -> Reader:
    """The reader `choice`: by logprobs if there is a model, else by overlap.

    Raises:
        UnsupportedError: READER_CANNOT_SCORE: there is a model, but it gives no logprobs.
    """
    if options.policy is None or (options.description and options.description.model_free):
        return ByOverlap()
    policy, description = options.model(NAME)
    if not description.scores:
        message = (
            f"reader {NAME} needs logprobs, and engine {description.engine} gives none: "
            "use the reader policy, which asks for a letter"
        )
        raise make(UnsupportedError, "READER_CANNOT_SCORE", message, engine=description.engine)
    return ByLogprobs(policy, policy_identity(description))


@dataclass(frozen=True, slots=True)
class ByOverlap:
    """The rule."""

    name = NAME
    about = "a rule: the option whose own words one sentence of the context holds"
    model_free = True

    @property
    def identity(self) -> Mapping[str, Any]:
        """See `Reader.identity`."""
        return {"reader": self.name, "by": "overlap"}

    async def answer(self, context: Context, asked: AskedQuestion) -> Answer:
        """See `Reader.answer`."""
        index = indexed(context.text)
        stems = [stems_of(option.lower()) for option in options_of(asked)]
        shared = frozenset.intersection(*stems)
        support = [
            max((index.weight(own & held) for held in index.stems), default=0.0) / (index.weight(own) or 1.0)
            for own in (each - shared for each in stems)
        ]
        found = _answer(asked, support, "support")
        return found if support.count(max(support)) == 1 else replace(found, text=ABSTAINS)


@dataclass(frozen=True, slots=True)
class ByLogprobs:
    """The model's choice."""

    policy: ScoringPolicy
    model: Mapping[str, Any]

    name = NAME
    about = "the option whose tokens the model finds likeliest in the mean"
    model_free = False

    @property
    def identity(self) -> Mapping[str, Any]:
        """See `Reader.identity`."""
        return {
            "reader": self.name,
            "by": "logprobs",
            "policy": self.model,
            "prompt_digest": load(TEMPLATE).digest,
        }

    async def answer(self, context: Context, asked: AskedQuestion) -> Answer:
        """See `Reader.answer`.

        Raises:
            UnsupportedError: OPTIONS_NOT_READABLE: the chat template writes answers in another way.
        """
        values = {"context": context.text, "question": asked.question.text, "time": asked.question.time}
        prompt, *options = await asyncio.gather(
            self._ids(load(TEMPLATE).chat(values)), *map(self._option_ids, options_of(asked))
        )
        sequences = [TokenizedPrompt(token_ids=[*prompt, *option]) for option in options]
        scored = await self.policy.score(ScoreRequest(sequences=sequences))
        means = [
            sum(score.logprobs[-len(option) :]) / len(option)
            for score, option in zip(scored.scores, options, strict=True)
        ]
        read = Usage(calls=1, prompt_tokens=sum(len(each.token_ids) for each in sequences))
        return _answer(asked, means, "logprobs", read)

    async def _option_ids(self, option: str) -> Sequence[int]:
        """The option as the model would write it: what an answer adds to a chat without one.

        A policy has no call for the tokens of a text; it gives those of a prompt.
        """
        before, empty, whole = await asyncio.gather(*map(self._ids, map(_chat, (None, "", option))))
        end = empty[len(before) :]
        ids = whole[len(before) : len(whole) - len(end)]
        if not ids or whole != [*before, *ids, *end]:
            message = "the model's chat template writes an answer in another way than it asks for one"
            raise make(UnsupportedError, "OPTIONS_NOT_READABLE", message)
        return ids

    async def _ids(self, chat: ChatPrompt) -> list[int]:
        """The tokens of a prompt; the policy has to write one token to give them."""
        sampling = SamplingParams(max_tokens=1, temperature=0)
        request = GenerateRequest(chat=chat, sampling=sampling, return_tokens=True)
        return list((await self.policy.generate(request)).prompt_token_ids)


def _chat(answer: str | None) -> ChatPrompt:
    messages = [ChatMessage(role=Role.ROLE_USER, content="?")]
    if answer is not None:
        messages.append(ChatMessage(role=Role.ROLE_ASSISTANT, content=answer))
    return ChatPrompt(messages=messages)


def _answer(asked: AskedQuestion, scores: Sequence[float], what: str, read: Usage | None = None) -> Answer:
    letters = [letter for letter, _ in lettered(asked.question)]
    best = max(range(len(scores)), key=lambda place: (scores[place], -place))
    return Answer(letters[best], read or Usage(), {what: dict(zip(letters, scores, strict=True))})
