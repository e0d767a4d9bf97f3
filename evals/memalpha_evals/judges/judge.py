"""A model as judge: votes of a policy on one answer, read strictly.

A vote counts as right only if its last line is the word CORRECT and nothing else. A vote on a nugget of a
rubric is a JSON object with a `score` of 1, 0.5 or 0, as in BEAM (arXiv 2510.27246). What cannot be read
counts as wrong and is counted. The middle vote decides: of right and wrong that is the majority. A judge's
score is never a headline: it is published beside the strict scores, with the calibration of the same prompt
and model.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median
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
GRADES = (0, 0.5, 1)
_MARKS = re.compile(r"[\s*_`.\"']+")


class Case(NamedTuple):
    """One answer, or line of one, to judge; `right` is the right one, or the nugget that it is to have."""

    question: str
    right: str
    answer: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the votes came to.

    Attributes:
        score: 1 right, 0 wrong; of a nugget also 0.5.
        votes: Each vote; None could not be read.
    """

    score: float
    votes: tuple[float | None, ...]
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
            return Verdict(0.0, (), NO_USAGE)
        read = grade if self.prompt.graded else vote
        votes, usage = list[float | None](), NO_USAGE
        for seed in range(self.votes):
            completion = await self.policy.generate(self._request(case, seed))
            votes.append(read(completion.text))
            used = completion.usage
            usage += Usage(1, used.prompt_tokens, used.cached_tokens, used.completion_tokens)
        return Verdict(median(each or 0.0 for each in votes), tuple(votes), usage)

    def _request(self, case: Case, seed: int) -> GenerateRequest:
        content = self.prompt.filled({**case._asdict(), "nugget": case.right, "line": case.answer})
        return GenerateRequest(
            chat=ChatPrompt(messages=[ChatMessage(role=Role.ROLE_USER, content=content)]),
            sampling=SamplingParams(temperature=self.temperature, seed=seed, max_tokens=MOST_TOKENS),
        )


def vote(text: str) -> float | None:
    """The last line, without marks of emphasis; None if it is neither of the two words."""
    lines = [line for line in text[answer_start(text) :].splitlines() if line.strip()]
    last = _MARKS.sub("", lines[-1]).upper() if lines else ""
    return {"CORRECT": 1.0, "WRONG": 0.0}.get(last)


def grade(text: str) -> float | None:
    """The `score` of the one JSON object in a text; None if there is no other, or it is no grade."""
    answer = text[answer_start(text) :]
    try:
        found = json.loads(answer[answer.index("{") : answer.rindex("}") + 1])
    except (ValueError, RecursionError):
        return None
    score = found.get("score")
    return float(score) if type(score) in (int, float) and score in GRADES else None
