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
from memalpha.errors import InvalidInputError
from memalpha_evals.endpoints import Endpoint
from memalpha_evals.replicas import Replicas, opened
from memalpha_evals.scheduler import AFFINITY


class Named:
    """Answers with its own name."""

    def __init__(self, name):
        self.name = name

    async def generate(self, request):
        return Completion(self.name, FinishReason.FINISH_REASON_STOP, PolicyIdentity(), Usage())


def replicas(*names, model="m"):
    return Replicas([Endpoint(name, Named(name), GetPolicyResponse(model=model)) for name in names])  # pyright: ignore


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


def test_one_word_is_the_policy_itself():
    async def found() -> Endpoint:
        async with opened("extractive", "lines") as endpoint:
            return endpoint

    assert not isinstance(asyncio.run(found()).policy, Replicas)
