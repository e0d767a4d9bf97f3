"""The source of rollouts over a policy service that is away for a while, or that somebody else has too."""

from pathlib import Path
from typing import Any

import pytest

from memalpha.agent.protocols import Completion
from memalpha.api.policy.v1alpha1.policy_service_pb2 import (
    GenerateRequest,
    GetPolicyResponse,
    LoadWeightsRequest,
    LoadWeightsResponse,
    PolicyIdentity,
    WeightProbe,
)
from memalpha.errors import ConflictError, InternalError, UnavailableError, make
from memalpha.policy.checks import checked_generate
from memalpha.tasks.ledger import ledger
from memalpha_trainer.rollouts import live
from memalpha_trainer.rollouts.live import LiveRollouts, Plan
from memalpha_trainer.rollouts.policy import Sampling
from memalpha_trainer.rollouts.source import Weights

from .support import SETTING, SeededPolicy, unpaused


class Away(SeededPolicy):
    """Serves weights, and cannot be had at the first calls of its other doors."""

    def __init__(self, outages: int = 0) -> None:
        super().__init__()
        self.left = outages
        self.loads: list[int] = []
        self.restarts_at: int | None = None
        self.dies_at: int | None = None
        self.forgets = False
        self.asked = 0

    def _door(self) -> None:
        self.asked += 1
        self.left -= 1
        if self.left >= 0:
            raise make(UnavailableError, "UNAVAILABLE", "gone for a moment")

    async def describe(self) -> GetPolicyResponse:
        self._door()
        return await self._described()

    async def _described(self) -> GetPolicyResponse:
        described = await super().describe()
        described.policy.CopyFrom(PolicyIdentity(policy_version=self._version))
        described.scores = True
        return described

    async def generate(self, request: GenerateRequest) -> Completion:
        """Is started again at one of its completions, with the weights that it began with."""
        if self.dies_at is not None and len(self.requests) >= self.dies_at:
            self.left = 1000
            self._door()
        if len(self.requests) == self.restarts_at:
            self.restarts_at, self._version = None, 1
        return await super().generate(checked_generate(request, await self._described()))

    async def load_weights(self, request: LoadWeightsRequest) -> LoadWeightsResponse:
        self._door()
        self.loads.append(request.policy_version)
        if not self.forgets:
            self._version = request.policy_version
        return LoadWeightsResponse()

    async def close(self) -> None: ...


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> Any:
    async def connected(address: str) -> Away:
        return policy

    policy = Away()
    monkeypatch.setattr(live, "_connected", connected)
    unpaused(monkeypatch)
    made = LiveRollouts("a:1", lambda step: [ledger(3)], lambda reader: SETTING, Plan(1, 2, 2, Sampling()))
    yield made, policy
    made.close()


def weights(version: int) -> Weights:
    return Weights(Path("weights"), version, WeightProbe())


def test_a_service_that_is_away_for_a_while_gets_its_weights_all_the_same(source: Any) -> None:
    made, policy = source
    policy.left = 3
    made.publish(weights(2))
    policy.left = 3
    assert len(made.collect(0)) == 2
    assert policy.loads == [2]


def test_a_service_that_stays_away_is_an_error(source: Any) -> None:
    made, policy = source
    policy.left = 1000
    with pytest.raises(UnavailableError):
        made.publish(weights(2))
    with pytest.raises(UnavailableError):
        made.collect(0)


@pytest.mark.parametrize("asked", ["publish", "collect", "in the middle"])
def test_a_service_that_nobody_starts_again_is_not_waited_for(source: Any, asked: str) -> None:
    made, policy = source
    gone = make(InternalError, "POLICY_DIED", "the policy service has ended")

    def require_alive() -> None:
        raise gone

    made._require_alive = require_alive
    if asked == "in the middle":
        policy.dies_at = 3
    else:
        policy.left = 1000
    with pytest.raises(InternalError, match="has ended"):
        made.publish(weights(2)) if asked == "publish" else made.collect(0)
    # Each of two rollouts finds out once, beside the question how the policy is.
    assert policy.asked <= 3


def test_a_service_that_was_started_again_gets_its_weights_again(source: Any) -> None:
    made, policy = source
    made.publish(weights(2))
    policy._version = 1
    assert {span.version for each in made.collect(0)[0].samples for span in each.versions} == {2}
    assert policy.loads == [2, 2]


def test_a_service_that_is_started_again_in_the_middle_gets_its_weights_again(source: Any) -> None:
    made, policy = source
    made.publish(weights(2))
    policy.restarts_at = 3
    found = made.collect(0)
    assert len(found) == 2
    assert {span.version for each in found for sample in each.samples for span in sample.versions} == {2}
    assert policy.loads == [2, 2]


def test_weights_that_somebody_else_loaded_are_not_taken_for_ones_own(source: Any) -> None:
    made, policy = source
    made.publish(weights(2))
    made.collect(0)
    policy._version = 3
    with pytest.raises(ConflictError, match="serves version 3 of its weights, and this run gave it 2"):
        made.collect(1)


def test_a_service_that_says_yes_to_weights_and_keeps_its_own_writes_nothing(source: Any) -> None:
    made, policy = source
    policy.forgets = True
    made.publish(weights(2))
    with pytest.raises(ConflictError, match="serves version 1 of its weights, and this run gave it 2"):
        made.collect(0)
    # It was asked once more before it was given up.
    assert (policy.loads, policy.requests) == ([2, 2], [])
    policy.forgets = False
    assert len(made.collect(0)) == 2
