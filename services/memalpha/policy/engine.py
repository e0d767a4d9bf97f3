"""What an engine is, which there are, and how one is used without a service.

An engine reads chat prompts and writes text; what the text means is the agent's business. The policy
service serves one engine over the network, `InProcessPolicy` gives the agent one in the same process; both
speak in the messages of `PolicyService`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Protocol

from memalpha.agent.protocols import Completion
from memalpha.api.policy.v1alpha1.policy_service_pb2 import (
    GenerateRequest,
    GenerateResponse,
    GetPolicyResponse,
)
from memalpha.errors import InvalidInputError, make
from memalpha.policy.extractive import ExtractiveEngine


class Engine(Protocol):
    """Something that completes prompts. Raises `memalpha.errors.MemalphaError` and nothing else."""

    def describe(self) -> GetPolicyResponse:
        """Identity, limits and wire format. Called often: answers at once, from what is known."""
        ...

    def generate(self, request: GenerateRequest) -> AsyncIterator[GenerateResponse]:
        """Completes one prompt, piece by piece; the last piece has `finish_reason` and `usage`.

        Called once per chunk, for many banks at once; the caller may stop reading at any time.
        """
        ...


_ENGINES: dict[str, Callable[[str], Engine]] = {"extractive": ExtractiveEngine}
NAMES = tuple(_ENGINES)


def create(name: str, *, wire_format: str) -> Engine:
    """The engine of that name, writing calls in that wire format.

    Raises:
        InvalidInputError: `UNKNOWN_ENGINE` or `UNKNOWN_WIRE_FORMAT`, naming the choices.
    """
    if name not in _ENGINES:
        message = f"policy engine must be one of {', '.join(NAMES)}, not {name!r}"
        raise make(InvalidInputError, "UNKNOWN_ENGINE", message, engine=name)
    return _ENGINES[name](wire_format)


class InProcessPolicy:
    """An engine as the agent's `Policy`: the pieces of a completion put together."""

    def __init__(self, engine: Engine) -> None:
        """Over a started engine."""
        self._engine = engine

    async def generate(self, request: GenerateRequest) -> Completion:
        """Completes one prompt."""
        return Completion.joined([piece async for piece in self._engine.generate(request)])

    async def describe(self) -> GetPolicyResponse:
        """Describes the engine's policy."""
        return self._engine.describe()
