"""How often the agent asks a policy what it is, and what makes it ask again."""

import pytest

from memalpha.agent import described
from memalpha.agent.loop import Memorizer, PolicyOutage
from memalpha.api.policy.v1alpha1.policy_service_pb2 import GetPolicyResponse
from memalpha.client import AsyncMemoryClient
from memalpha.errors import UnavailableError, make

from .support import QUICK, ScriptedPolicy, append, keep_all


class Asked(ScriptedPolicy):
    """Counts how often it is asked what it is."""

    times = 0

    async def describe(self) -> GetPolicyResponse:
        self.times += 1
        said = GetPolicyResponse()
        said.CopyFrom(self._description)
        return said

    def is_now(self, **changes: object) -> None:
        self._description.MergeFrom(GetPolicyResponse(**changes))  # pyright: ignore[reportArgumentType]


@pytest.fixture
def moment(monkeypatch) -> None:
    """A moment that lasts, however slow the machine is."""
    monkeypatch.setattr(described, "FRESH_SECONDS", 1e6)


@pytest.mark.parametrize("lasts", [True, False], ids=["within a moment", "control"])
async def test_many_chunks_in_a_moment_ask_once(memory: AsyncMemoryClient, monkeypatch, lasts) -> None:
    monkeypatch.setattr(described, "FRESH_SECONDS", 1e6 if lasts else 0.0)
    await append(memory, "a", "b", "c")
    policy = Asked(keep_all)
    memorizer = Memorizer(memory, policy, QUICK)
    for _ in range(3):
        assert await memorizer.next_chunk("b") is not None
    assert policy.times == (1 if lasts else 3)


@pytest.mark.usefixtures("moment")
async def test_a_policy_that_failed_is_asked_again(memory: AsyncMemoryClient) -> None:
    await append(memory, "a")
    policy = Asked(make(UnavailableError, "POLICY_CLOSED", "closing"), keep_all)
    memorizer = Memorizer(memory, policy, QUICK)
    with pytest.raises(PolicyOutage):
        await memorizer.next_chunk("b")
    # A quarter of the context is for the answer: it is the new one that is asked.
    policy.is_now(max_context_tokens=4_000)
    outcome = await memorizer.next_chunk("b")
    assert outcome is not None
    assert (policy.times, policy.requests[-1].sampling.max_tokens) == (2, 1_000)


@pytest.mark.usefixtures("moment")
async def test_a_policy_whose_completion_names_another_is_asked_again(memory: AsyncMemoryClient) -> None:
    await append(memory, "a", "b", "c")
    policy = Asked(keep_all)
    memorizer = Memorizer(memory, policy, QUICK)
    await memorizer.next_chunk("b")
    policy.is_now(policy={"policy_version": 8})
    await memorizer.next_chunk("b")
    assert policy.times == 1
    await memorizer.next_chunk("b")
    assert policy.times == 2


@pytest.mark.usefixtures("moment")
async def test_a_policy_that_does_not_go_with_the_agent_is_asked_at_every_try(
    memory: AsyncMemoryClient,
) -> None:
    await append(memory, "a")
    policy = Asked(keep_all, wire_format="lines")
    memorizer = Memorizer(memory, policy, QUICK.model_copy(update={"wire_format": "hermes"}))
    for _ in range(2):
        with pytest.raises(PolicyOutage):
            await memorizer.next_chunk("b")
    policy.is_now(wire_format="hermes")
    assert await memorizer.next_chunk("b") is not None
    assert policy.times == 3
