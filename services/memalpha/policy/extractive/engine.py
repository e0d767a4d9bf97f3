"""The `extractive` engine: the policy of a machine without a model.

It reads the prompt that a model would read and writes tool calls in the wire format that a model would
write, so that everything around it is the real path. Deterministic: the same prompt gives the same bytes.
No state, no download.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import memcore
from memalpha.agent import wire
from memalpha.agent.prompts import read_prompt
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
from memalpha.policy.extractive import plan

POLICY_ID = "extractive-1"
DEFAULT_MAX_TOKENS = 2048


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
        weighed = plan.calls(read_prompt(messages[-1].content), memcore.count_tokens)
        limit = request.sampling.max_tokens if request.sampling.HasField("max_tokens") else DEFAULT_MAX_TOKENS
        text = self._wire.render([call for _, call in weighed])
        if memcore.count_tokens(text) > limit:
            text = self._wire.render(self._within(weighed, limit))
        prompt_tokens = sum(memcore.count_tokens(message.content) for message in messages)
        return GenerateResponse(
            text=text,
            finish_reason=FinishReason.FINISH_REASON_STOP,
            policy=PolicyIdentity(policy_id=POLICY_ID),
            usage=Usage(prompt_tokens=prompt_tokens, completion_tokens=memcore.count_tokens(text)),
        )

    def _within(self, weighed: Sequence[tuple[float, ToolCall]], limit: int) -> list[ToolCall]:
        """The calls in order without the lightest, so that together they stay within `limit` tokens."""
        sizes = [memcore.count_tokens(self._wire.render([call])) for _, call in weighed]
        total = sum(sizes)
        given_up: set[int] = set()
        for place in sorted(range(len(weighed)), key=lambda place: (weighed[place][0], -place)):
            if total <= limit:
                break
            given_up.add(place)
            total -= sizes[place]
        return [call for place, (_, call) in enumerate(weighed) if place not in given_up]
