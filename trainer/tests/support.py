"""Builders for tests: policies that need no model, and rollouts written by hand."""

from __future__ import annotations

import asyncio
import random
from types import SimpleNamespace

import pytest

from memalpha.agent import wire
from memalpha.agent.protocols import Completion
from memalpha.api.policy.v1alpha1.policy_service_pb2 import (
    FinishReason,
    GenerateRequest,
    GetPolicyResponse,
    PolicyIdentity,
    Usage,
)
from memalpha.errors import UnavailableError, make
from memalpha.tasks.instance import Instance
from memalpha.tasks.ledger import LITERAL, ledger
from memalpha.tasks.ledger.memory import BANK, agent_settings
from memalpha.tasks.writers import ScriptedPolicy, Writer, insert
from memalpha_trainer.records import Rollout
from memalpha_trainer.rollouts import patience
from memalpha_trainer.rollouts.collect import Place, Setting
from memalpha_trainer.rollouts.live import Plan, rollouts
from memalpha_trainer.rollouts.policy import Sampling
from memalpha_trainer.rollouts.readers import LedgerReader

SETTING = Setting(agent_settings(prompt_pack="short"), BANK, LedgerReader(LITERAL))


def unpaused(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Has those who are patient go on at once; the pauses that they would have made."""
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(patience, "asyncio", SimpleNamespace(sleep=sleep))
    return pauses


class SeededPolicy:
    """Writes text that its request's seed decides; at some calls it cannot be had."""

    def __init__(self, *, outages: tuple[int, ...] = (), version: int = 1) -> None:
        self.requests: list[GenerateRequest] = []
        self._outages = outages
        self._version = version

    async def generate(self, request: GenerateRequest) -> Completion:
        self.requests.append(request)
        if len(self.requests) - 1 in self._outages:
            raise make(UnavailableError, "UNAVAILABLE", "gone for a moment")
        chance = random.Random(request.sampling.seed)
        text = wire.get("lines").render([insert(f"fact {chance.randrange(10**6)}")])
        ids = tuple(chance.randrange(100) for _ in range(5))
        return Completion(
            text,
            FinishReason.FINISH_REASON_STOP,
            PolicyIdentity(policy_id="seeded", policy_version=self._version),
            Usage(),
            prompt_token_ids=(1, 2, 3),
            token_ids=ids,
            logprobs=tuple(-1.0 for _ in ids),
            versions=(self._version,) * len(ids),
        )

    async def describe(self) -> GetPolicyResponse:
        return GetPolicyResponse(engine="seeded", wire_format="lines")


def written(writer: Writer, instance: Instance | None = None) -> Rollout:
    """The rollout of a scripted writer."""
    return made(ScriptedPolicy("test", writer), instance or ledger(3))


def made(
    policy: ScriptedPolicy | SeededPolicy,
    instance: Instance,
    place: Place | None = None,
    setting: Setting = SETTING,
) -> Rollout:
    """The rollout of a policy."""

    where = place or Place(seed=1, step=0, group=0, index=0)
    plan = Plan(seed=1, group_size=1, concurrency=1, sampling=Sampling())

    async def make_one() -> Rollout:
        (one,) = await rollouts(policy, await policy.describe(), setting, [(instance, where)], plan)
        return one

    return asyncio.run(make_one())
