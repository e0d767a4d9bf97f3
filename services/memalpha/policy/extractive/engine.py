"""The `extractive` engine: the policy of a machine without a model.

It reads the prompt that a model would read and writes tool calls in the wire format that a model would
write, so that everything around it is the real path. Deterministic: the same prompt gives the same bytes.
No state, no download.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import memcore
from memalpha.agent import wire
from memalpha.agent.prompts import read_consolidation, read_prompt
from memalpha.agent.tools import ToolCall
from memalpha.api.policy.v1alpha1.policy_service_pb2 import (
    FinishReason,
    GenerateRequest,
    GenerateResponse,
    GetPolicyResponse,
    PolicyIdentity,
    Role,
    Usage,
)
from memalpha.errors import InvalidInputError, make
from memalpha.policy.extractive import consolidate, plan

POLICY_ID = "extractive-1"
DEFAULT_MAX_TOKENS = 2048
ADVICE_SHARE = 0.05
"""Most of the limit that what a helper said may take: where room is scarce, people will need it later."""


class ExtractiveEngine:
    """Keeps the telling sentences of a chunk; see the package's modules for the rules."""

    def __init__(self, wire_format: str) -> None:
        """Takes the wire format's name; an unknown one raises `InvalidInputError`."""
        self._wire = wire.get(wire_format)

    def describe(self) -> GetPolicyResponse:
        """Says that no model is behind this policy and that no prompt is too long for it."""
        return GetPolicyResponse(
            policy=PolicyIdentity(policy_id=POLICY_ID),
            engine="extractive",
            model_free=True,
            wire_format=self._wire.name,
        )

    async def generate(self, request: GenerateRequest) -> AsyncIterator[GenerateResponse]:
        """Yields the whole completion in one piece. Sampling but for `max_tokens` has no meaning here.

        Raises:
            InvalidInputError: `PROMPT_NOT_UNDERSTOOD`, for a prompt of another layout than the agent's.
        """
        yield self.complete(request)

    def complete(self, request: GenerateRequest) -> GenerateResponse:
        """The completion; see `generate`."""
        messages = request.chat.messages
        if not messages or messages[-1].role != Role.ROLE_USER:
            raise make(
                InvalidInputError, "PROMPT_NOT_UNDERSTOOD", "chat.messages must end with a user message"
            )
        weighed = _weighed(messages[-1].content)
        limit = request.sampling.max_tokens if request.sampling.HasField("max_tokens") else DEFAULT_MAX_TOKENS
        text = self._wire.render(self._within(weighed, limit))
        prompt_tokens = sum(memcore.count_tokens(message.content) for message in messages)
        return GenerateResponse(
            text=text,
            finish_reason=FinishReason.FINISH_REASON_STOP,
            policy=PolicyIdentity(policy_id=POLICY_ID),
            usage=Usage(prompt_tokens=prompt_tokens, completion_tokens=memcore.count_tokens(text)),
        )

    def _within(self, weighed: Sequence[plan.Weighed], limit: int) -> list[ToolCall]:
        """The calls in order without the lightest for their length, so that they stay within `limit` tokens.

        Where a call does not fit, all lighter ones go as well: who saves up has room for a better one later.
        """
        sizes = [memcore.count_tokens(self._wire.render([each.call])) for each in weighed]
        left, left_for_advice = float(limit), limit * ADVICE_SHARE
        kept: set[int] = set()
        for place in sorted(
            range(len(weighed)), key=lambda place: (-weighed[place].weight / sizes[place], place)
        ):
            size, advice = sizes[place], weighed[place].advice
            if size > limit or (advice and size > left_for_advice):
                continue
            if size > left:
                break
            kept.add(place)
            left, left_for_advice = left - size, left_for_advice - size * advice
        return [each.call for place, each in enumerate(weighed) if place in kept]


def _weighed(user_text: str) -> list[plan.Weighed]:
    """The calls for a prompt, whichever of the agent's it is, with their weights."""
    memories = read_consolidation(user_text)
    if memories is None:
        return plan.calls(read_prompt(user_text), memcore.count_tokens)
    return [plan.Weighed(1.0, call) for call in consolidate.calls(memories)]
