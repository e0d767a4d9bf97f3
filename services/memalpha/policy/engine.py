"""What an engine is, which there are, and how one is used without a service.

An engine reads prompts and writes text; what the text means is the agent's business. The policy service
serves one engine over the network, `InProcessPolicy` gives the agent one in the same process; both speak in
the messages of `PolicyService` and check requests alike. What an engine cannot do it says in `describe`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol, runtime_checkable

from memalpha.agent.protocols import Completion
from memalpha.api.policy.v1alpha1.policy_service_pb2 import (
    GenerateRequest,
    GenerateResponse,
    GetPolicyResponse,
    LoadWeightsRequest,
    LoadWeightsResponse,
    ScoreRequest,
    ScoreResponse,
)
from memalpha.config import PolicySettings
from memalpha.errors import InvalidInputError, make
from memalpha.policy.checks import checked_generate
from memalpha.policy.extractive import ExtractiveEngine

NAMES = ("extractive", "openai", "transformers", "vllm")


class Engine(Protocol):
    """Something that completes prompts. Raises `memalpha.errors.MemalphaError` and nothing else."""

    def describe(self) -> GetPolicyResponse:
        """Identity, limits and wire format. Called often: answers at once, from what is known."""
        ...

    def generate(self, request: GenerateRequest) -> AsyncIterator[GenerateResponse]:
        """Completes one prompt, piece by piece; the last piece has `finish_reason` and `usage`.

        Called once per chunk, for many banks at once, after `checked_generate`; the caller may stop reading
        at any time.
        """
        ...


class ScoringEngine(Engine, Protocol):
    """An engine whose `describe` says `scores`."""

    async def score(self, request: ScoreRequest) -> ScoreResponse:
        """Logprobs of given tokens. Called by trainers, many times a step, after `checked_score`."""
        ...


class LoadingEngine(ScoringEngine, Protocol):
    """An engine whose `describe` says `loads_weights`."""

    async def load_weights(self, request: LoadWeightsRequest) -> LoadWeightsResponse:
        """Serves other weights of the same model, or goes on as before. Called by trainers once a step."""
        ...


def create(name: str, *, wire_format: str, settings: PolicySettings | None = None) -> Engine:
    """The engine of that name, writing calls in that wire format. One with a model takes its time.

    Raises:
        InvalidInputError: `UNKNOWN_ENGINE` or `UNKNOWN_WIRE_FORMAT`, naming the choices; `INVALID_SETTING`
            for an adapter that the engine would leave out.
        MemalphaError: The model of the settings cannot be served.
    """
    settings = settings or PolicySettings.model_validate({})
    if settings.adapter is not None and name != "vllm":
        message = f"policy.adapter must be unset with engine {name}, which serves none; vllm does"
        raise make(InvalidInputError, "INVALID_SETTING", message, setting="policy.adapter")
    if name == "extractive":
        return ExtractiveEngine(wire_format)
    # A client library, and far more a model's, takes time to load: only what is used is.
    if name == "openai":
        from memalpha.policy.openai.engine import OpenAIEngine

        return OpenAIEngine(settings, wire_format)
    if name == "transformers":
        from memalpha.policy.local.engine import TransformersEngine

        return TransformersEngine(settings, wire_format)
    if name == "vllm":
        from memalpha.policy.vllm.engine import VLLMEngine

        return VLLMEngine(settings, wire_format)
    message = f"policy engine must be one of {', '.join(NAMES)}, not {name!r}"
    raise make(InvalidInputError, "UNKNOWN_ENGINE", message, engine=name)


@asynccontextmanager
async def opened(name: str, *, wire_format: str, settings: PolicySettings) -> AsyncIterator[Engine]:
    """As `create`, for as long as it is open.

    Raises:
        MemalphaError: As `create`.
    """
    engine = await asyncio.to_thread(create, name, wire_format=wire_format, settings=settings)
    try:
        yield engine
    finally:
        close = getattr(engine, "close", None)
        if close is not None:
            await close()


@runtime_checkable
class RestartingEngine(Engine, Protocol):
    """An engine that may be down for a while, and comes back by itself."""

    @property
    def serving(self) -> bool:
        """Whether completions are to be had. The service asks several times a second, for its health."""
        ...


@runtime_checkable
class BoundedEngine(Engine, Protocol):
    """An engine that takes so many completions at once, and refuses more itself."""

    @property
    def capacity(self) -> int:
        """Completions in work and in line. The service asks once, as it has to let as many calls in."""
        ...


class InProcessPolicy:
    """An engine as the agent's `Policy`: the pieces of a completion put together."""

    def __init__(self, engine: Engine) -> None:
        """Over a started engine."""
        self._engine = engine

    async def generate(self, request: GenerateRequest) -> Completion:
        """Completes one prompt."""
        checked = checked_generate(request, self._engine.describe())
        return Completion.joined([piece async for piece in self._engine.generate(checked)])

    async def describe(self) -> GetPolicyResponse:
        """Describes the engine's policy."""
        return self._engine.describe()
