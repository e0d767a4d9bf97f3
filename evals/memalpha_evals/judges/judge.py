"""A model as judge: votes of a policy on one answer, read strictly.

A vote counts as right only if its last line is the word CORRECT and nothing else; what cannot be read counts
as wrong and is counted. The majority decides. A judge's score is never a headline: it is published beside the
strict scores, with the calibration of the same prompt and model.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from memalpha.agent.protocols import Policy
from memalpha.agent.wire.base import answer_start
from memalpha.api.policy.v1alpha1.policy_service_pb2 import (
    ChatMessage,
    ChatPrompt,
    GenerateRequest,
    Role,
    SamplingParams,
)
from memalpha.errors import InvalidInputError, make
from memalpha_evals.judges.prompts import JudgePrompt
from memalpha_evals.protocols import NO_USAGE, Usage

MOST_TOKENS = 512
_MARKS = re.compile(r"[\s*_`.\"']+")


class Case(NamedTuple):
    """One answer to judge."""

    question: str
    right: str
    answer: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the votes came to.

    Attributes:
        correct: Most votes say so.
        votes: Each vote; None could not be read.
    """

    correct: bool
    votes: tuple[bool | None, ...]
    usage: Usage

    @property
    def unread(self) -> int:
        """Votes that could not be read."""
        return sum(vote is None for vote in self.votes)


@dataclass(frozen=True, slots=True)
class Judge:
    """A prompt before a policy.

    Attributes:
        policy: The model.
        prompt: Its words.
        votes: An odd number; above one they are drawn with different seeds.
        temperature: Of the votes; 0 makes more than one vote pointless.
        model: Who the policy is, as plain values.
    """

    policy: Policy
    prompt: JudgePrompt
    votes: int = 1
    temperature: float = 0.0
    model: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuses votes that could be tied, or could not differ."""
        if self.votes < 1 or self.votes % 2 == 0:
            raise make(
                InvalidInputError, "JUDGE_VOTES", f"votes must be odd, not {self.votes}", votes=self.votes
            )
        if self.votes > 1 and self.temperature == 0:
            message = f"{self.votes} votes must be drawn at a temperature above 0: they are all the same at 0"
            raise make(InvalidInputError, "JUDGE_VOTES", message, votes=self.votes)

    @property
    def identity(self) -> dict[str, Any]:
        """All that its verdicts depend on, as plain JSON values."""
        prompt = {"prompt_sha256": self.prompt.sha256, "max_tokens": MOST_TOKENS}
        return {"model": dict(self.model), **prompt, "votes": self.votes, "temperature": self.temperature}

    async def verdict(self, case: Case) -> Verdict:
        """Asks for all votes, one after the other; an empty answer is wrong without a vote.

        Raises:
            MemalphaError: The policy refuses, or is not to be had.
        """
        if not case.answer.strip():
            return Verdict(False, (), NO_USAGE)
        votes, usage = list[bool | None](), NO_USAGE
        for seed in range(self.votes):
            completion = await self.policy.generate(self._request(case, seed))
            votes.append(vote(completion.text))
            used = completion.usage
            usage += Usage(1, used.prompt_tokens, used.cached_tokens, used.completion_tokens)
        return Verdict(_most(votes), tuple(votes), usage)

    def _request(self, case: Case, seed: int) -> GenerateRequest:
        content = self.prompt.filled(case._asdict())
        return GenerateRequest(
            chat=ChatPrompt(messages=[ChatMessage(role=Role.ROLE_USER, content=content)]),
            sampling=SamplingParams(temperature=self.temperature, seed=seed, max_tokens=MOST_TOKENS),
        )


def vote(text: str) -> bool | None:
    """The last line, without marks of emphasis; None if it is neither of the two words."""
    lines = [line for line in text[answer_start(text) :].splitlines() if line.strip()]
    last = _MARKS.sub("", lines[-1]).upper() if lines else ""
    return {"CORRECT": True, "WRONG": False}.get(last)


def _most(votes: Sequence[bool | None]) -> bool:
    return 2 * sum(each is True for each in votes) > len(votes)
