"""One stream's calls go to one replica, streams spread over all, and one more moves only its own share."""

import asyncio
from collections import Counter

import pytest

from memalpha.agent import Completion
from memalpha.api.policy.v1alpha1.policy_service_pb2 import (
    FinishReason,
    GenerateRequest,
    GetPolicyResponse,
    PolicyIdentity,
    Usage,
)
from memalpha.errors import InvalidInputError, UnavailableError, make
from memalpha_evals.endpoints import Endpoint
from memalpha_evals.replicas import REST, Replicas, _weight, opened
from memalpha_evals.scheduler import AFFINITY


class Named:
    """Answers with its own name, unless it is away."""

    def __init__(self, name):
        self.name, self.away, self.asked = name, False, 0

    async def generate(self, request):
        self.asked += 1
        if self.away:
            raise make(UnavailableError, "UNAVAILABLE", f"no service at {self.name}")
        return Completion(self.name, FinishReason.FINISH_REASON_STOP, PolicyIdentity(), Usage())


def replicas(*names, model="m"):
    return over([Named(name) for name in names], model)


def over(policies, model="m"):
    return Replicas([Endpoint(each.name, each, GetPolicyResponse(model=model)) for each in policies])  # pyright: ignore


def chosen(policy: Replicas, streams: int) -> list[str]:
    async def one(key: str) -> str:
        AFFINITY.set(key)
        texts = {(await policy.generate(GenerateRequest())).text for _ in range(3)}
        assert len(texts) == 1
        return texts.pop()

    async def every() -> list[str]:
        return [await asyncio.create_task(one(f"memalpha/stream {number}")) for number in range(streams)]

    return asyncio.run(every())


def test_streams_are_spread_and_each_stays_where_it_is():
    counts = Counter(chosen(replicas("a:1", "b:1"), 200))
    # 200 fair draws: 100, standard deviation 7.
    assert all(70 <= counts[name] <= 130 for name in ("a:1", "b:1"))


def test_a_replica_more_moves_only_what_it_takes():
    before, after = chosen(replicas("a:1", "b:1"), 200), chosen(replicas("a:1", "b:1", "c:1"), 200)
    moved = [new for old, new in zip(before, after, strict=True) if old != new]
    assert set(moved) == {"c:1"}
    assert 40 <= len(moved) <= 95  # a third


def test_replicas_that_are_not_alike_are_refused():
    others = [Endpoint("a:1", Named("a"), GetPolicyResponse(model="m"))]  # pyright: ignore
    others.append(Endpoint("b:1", Named("b"), GetPolicyResponse(model="n")))  # pyright: ignore
    with pytest.raises(InvalidInputError, match="b:1 serves another policy than a:1"):
        Replicas(others)


def test_a_call_to_a_replica_that_is_away_goes_to_one_that_answers():
    policies = [Named("a:1"), Named("b:1"), Named("c:1")]
    before = chosen(over(policies), 60)
    policies[0].away = True
    after = chosen(over(policies), 60)
    # only what went to the one that is away is moved
    assert {old for old, new in zip(before, after, strict=True) if old != new} == {"a:1"}
    assert set(after) == {"b:1", "c:1"}


def test_a_replica_that_was_away_is_left_alone_for_a_while_and_then_asked_again():
    first, second = policies = [Named("a:1"), Named("b:1")]
    replicated = over(policies)
    key = next(f"s {n}" for n in range(99) if _weight(f"s {n}", "a:1") > _weight(f"s {n}", "b:1"))
    AFFINITY.set(key)

    async def calls(count: int) -> set[str]:
        return {(await replicated.generate(GenerateRequest())).text for _ in range(count)}

    first.away = True
    assert asyncio.run(calls(1 + REST)) == {"b:1"}
    assert first.asked == 1
    first.away = False
    assert asyncio.run(calls(1)) == {"a:1"}
    second.away = True
    assert asyncio.run(calls(3)) == {"a:1"}


def test_only_when_nobody_answers_is_a_call_unanswered():
    policies = [Named("a:1"), Named("b:1")]
    for each in policies:
        each.away = True
    with pytest.raises(UnavailableError, match="no service at"):
        asyncio.run(over(policies).generate(GenerateRequest()))
    assert [each.asked for each in policies] == [1, 1]


def test_addresses_where_nobody_answers_are_left_out_unless_that_is_all():
    async def found(specs: str) -> Endpoint:
        async with opened(specs, "lines") as endpoint:
            return endpoint

    assert asyncio.run(found("127.0.0.1:9, extractive")).description.model_free
    with pytest.raises(UnavailableError, match="no service at"):
        asyncio.run(found("127.0.0.1:9, localhost:9"))


def test_one_word_is_the_policy_itself():
    async def found() -> Endpoint:
        async with opened("extractive", "lines") as endpoint:
            return endpoint

    assert not isinstance(asyncio.run(found()).policy, Replicas)
