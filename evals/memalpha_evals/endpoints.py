"""From a word to a policy: `extractive`, `HOST:PORT`, `transformers:FOLDER` or `openai:MODEL`.

An engine in this process and a policy service behind an address are used alike. What else an engine needs,
such as an endpoint's address and key, is in `memalpha.toml` or `MEMALPHA_POLICY__…`, as for the services.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from memalpha.agent import Policy
from memalpha.api.policy.v1alpha1.policy_service_pb2 import GetPolicyResponse, ScoreRequest, ScoreResponse
from memalpha.client import AsyncPolicyClient
from memalpha.config import Settings, load, split_address
from memalpha.errors import InvalidInputError, make
from memalpha.policy.checkpoint import PROMPT_PACK, manifest
from memalpha.policy.checks import checked_score
from memalpha.policy.engine import Engine, InProcessPolicy, opened

FORMS = "extractive, HOST:PORT, transformers:FOLDER or openai:MODEL"


class ScoringPolicy(Policy, Protocol):
    """A policy that can be asked for logprobs, if its description says so."""

    async def score(self, request: ScoreRequest) -> ScoreResponse:
        """Logprobs of given tokens; see `PolicyService.Score`."""
        ...


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An open policy and what it said of itself.

    Attributes:
        spec: How it was named.
        prompt_packs: Folders of packs that its checkpoint brings along.
        remote: It is a service, which may end, or serve other weights, while it is used.
        left_out: Addresses that were named with it, where nobody answered.
        base_url: Where an endpoint is that this process asks itself, without what stands behind a `?`.
    """

    spec: str
    policy: ScoringPolicy
    description: GetPolicyResponse
    prompt_packs: tuple[str, ...] = ()
    remote: bool = False
    left_out: tuple[str, ...] = ()
    base_url: str = ""

    @property
    def identity(self) -> dict[str, Any]:
        """Who answers, as plain values; a model's name at an endpoint means nothing without its address."""
        return policy_identity(self.description) | ({"base_url": self.base_url} if self.base_url else {})


@asynccontextmanager
async def endpoint(
    spec: str, wire_format: str = "", settings: Settings | None = None
) -> AsyncIterator[Endpoint]:
    """The policy that `spec` names, for as long as it is open.

    Args:
        spec: One of `FORMS`.
        wire_format: How an engine in this process writes calls; empty: as its checkpoint was trained, else
            as the settings say. A policy service decides that itself.
        settings: Of the engines; None: those of `memalpha.config.load`.

    Raises:
        InvalidInputError: POLICY_SPEC; or the engine cannot be had as it is set.
        UnavailableError: Nobody answers at the address.
    """
    name, _, model = spec.partition(":")
    settings = settings or load()
    if name in ("transformers", "openai") and model:
        settings = settings.replaced(policy=settings.policy.model_copy(update={"model": model}))
    elif spec != "extractive":
        async with _service(spec) as served:
            yield served
        return
    form = wire_format or _trained_form(name, model) or settings.wire_format
    async with opened(name, wire_format=form, settings=settings.policy) as engine:
        where = settings.policy.base_url.partition("?")[0] if name == "openai" else ""
        yield Endpoint(spec, _Local(engine), engine.describe(), _packs(name, model), base_url=where)


def policy_identity(description: GetPolicyResponse) -> dict[str, Any]:
    """Who a policy is, as plain values."""
    return {
        "id": description.policy.policy_id,
        "version": description.policy.policy_version,
        "engine": description.engine,
        "model": description.model,
        "tokenizer_digest": description.tokenizer_digest,
        "wire_format": description.wire_format,
        "max_context_tokens": description.max_context_tokens,
    }


class _Local(InProcessPolicy):
    """An engine in this process that also scores."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._scorer = engine

    async def score(self, request: ScoreRequest) -> ScoreResponse:
        """See `ScoringPolicy`."""
        checked = checked_score(request, self._scorer.describe())
        return await self._scorer.score(checked)  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownVariableType]


@asynccontextmanager
async def _service(address: str) -> AsyncIterator[Endpoint]:
    try:
        split_address(address)
    except ValueError:
        message = f"policy must be {FORMS}, not {address!r}"
        raise make(InvalidInputError, "POLICY_SPEC", message, policy=address) from None
    async with AsyncPolicyClient.connect(address) as client:
        yield Endpoint(address, client, await client.describe(), remote=True)


def _trained_form(name: str, model: str) -> str:
    """The wire format of a checkpoint, if it says so."""
    found = manifest(Path(model).expanduser()) if name == "transformers" else None
    return found.trained_with.wire_format if found else ""


def _packs(name: str, model: str) -> tuple[str, ...]:
    """The prompt pack that lies in a checkpoint's folder, if there is one."""
    own = Path(model).expanduser() / PROMPT_PACK
    return (str(own.resolve()),) if name == "transformers" and own.is_dir() else ()
