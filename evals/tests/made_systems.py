"""Streams and policies that are made up, for tests of systems and readers."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from memalpha.agent import Completion
from memalpha.api.policy.v1alpha1.policy_service_pb2 import (
    FinishReason,
    GenerateRequest,
    GetPolicyResponse,
    PolicyIdentity,
    ScoreRequest,
    ScoreResponse,
    SequenceScore,
    Usage,
)
from memalpha.policy.engine import InProcessPolicy
from memalpha.policy.extractive import ExtractiveEngine
from memalpha_evals.datasets import Conversation, Question, Turn
from memalpha_evals.protocols import Context, Session, Step, System
from memalpha_evals.streams import AskedQuestion, Stream, stream
from memalpha_evals.systems import SystemOptions, create

IDENTITY = PolicyIdentity(policy_id="stub", policy_version=3)
TOWNS = ("Bergamo", "Cremona", "Lodi", "Mantua", "Pavia", "Como", "Varese", "Lecco")


@dataclass
class Stub:
    """A model whose words are a function of the prompt's last message and of how often it was asked."""

    says: Callable[[str, int], str]
    prompts: list[GenerateRequest] = field(default_factory=list)
    context: int = 0

    async def generate(self, request: GenerateRequest) -> Completion:
        self.prompts.append(request)
        text = self.says(request.chat.messages[-1].content, len(self.prompts) - 1)
        usage = Usage(prompt_tokens=100, completion_tokens=10)
        ids = tuple(token_ids(request)) if request.return_tokens else ()
        return Completion(text, FinishReason.FINISH_REASON_STOP, IDENTITY, usage, prompt_token_ids=ids)

    async def describe(self) -> GetPolicyResponse:
        return self.description

    async def score(self, request: ScoreRequest) -> ScoreResponse:
        """Finds a token the likelier, the smaller it is."""
        return ScoreResponse(
            scores=[
                SequenceScore(logprobs=[-float(each) for each in sequence.token_ids[1:]])
                for sequence in request.sequences
            ]
        )

    @property
    def description(self) -> GetPolicyResponse:
        return GetPolicyResponse(
            policy=IDENTITY,
            engine="stub",
            wire_format="lines",
            scores=True,
            max_context_tokens=self.context,
        )


def token_ids(request: GenerateRequest) -> list[int]:
    """One id for each character, between a token of the role and one of the end; then the assistant's."""
    ids = list[int]()
    for message in request.chat.messages:
        ids += [1000 + message.role, *map(ord, message.content), 2000]
    return [*ids, 1003]


def extractive() -> tuple[InProcessPolicy, GetPolicyResponse]:
    engine = ExtractiveEngine("lines")
    return InProcessPolicy(engine), engine.describe()


def options(policy: Stub | None = None, **changes: object) -> SystemOptions:
    """Of the stub, else of the extractive engine."""
    if policy is not None:
        return SystemOptions(policy=policy, description=policy.description, **changes)  # pyright: ignore[reportArgumentType]
    engine, description = extractive()
    return SystemOptions(policy=engine, description=description, **changes)  # pyright: ignore[reportArgumentType]


def dialogue(turns: int = 8, chunk_tokens: int = 64) -> Stream:
    """Bob tells of one town on each day, and is asked about each, once early and then at the end."""
    said = tuple(
        Turn(
            f"t{place}",
            f"I moved my bakery to {TOWNS[place % 8]} {place} because rent in the old town was too high.",
            f"2023-05-{place + 1:02}",
            "Bob",
        )
        for place in range(turns)
    )
    early = Question(f"Did Bob move to {TOWNS[0]}?", "towns", "yes", frozenset({"t0"}), (), until=turns // 2)
    late = [
        Question(f"When did Bob move to {TOWNS[place % 8]} {place}?", "towns", "", frozenset(), ())
        for place in range(turns)
    ]
    return stream(Conversation("bob", said, (early, *late)), chunk_tokens)


def questions(texts: Sequence[str], after: int) -> list[AskedQuestion]:
    return [AskedQuestion(str(n), question(text), after) for n, text in enumerate(texts)]


def question(text: str, **more: object) -> Question:
    return Question(text, "", "", frozenset(), (), **more)  # pyright: ignore[reportArgumentType]


async def opened(name: str, with_options: SystemOptions, told: Stream) -> tuple[System, Session]:
    system = create(name, with_options)
    return system, await system.open(told, told.questions[-1] if system.query_aware else None)


async def built(name: str, with_options: SystemOptions, told: Stream) -> tuple[Session, list[Step]]:
    """A session that has read everything, and the steps that it took."""
    system, session = await opened(name, with_options, told)
    return session, [await session.step(place) for place in range(system.steps(told))]


async def contexts(session: Session, told: Stream, budget: int) -> list[Context]:
    """Of the questions at the end."""
    return [await session.context(asked, budget) for asked in told.asked_after(len(told.chunks))]


def stored(steps: Sequence[Step]) -> list[Step]:
    """The steps as a file gives them back."""
    return [Step(json.loads(json.dumps(dict(step.record)))) for step in steps]
