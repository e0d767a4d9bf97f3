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
    ScoreRequest,
    ScoreResponse,
    Usage,
)
from memalpha.errors import InvalidInputError, UnavailableError, make
from memalpha_evals.endpoints import Endpoint
from memalpha_evals.replicas import REST, Replicas, _weight, opened
from memalpha_evals.scheduler import AFFINITY, CHANGED, Outage, Patience
from memalpha_evals.scheduler.retries import Tries


class Named:
    """Answers with its own name, unless it is away, for a reason; of another version if it is told so."""

    def __init__(self, name):
        self.name, self.away, self.asked, self.probed = name, "", 0, 0
        self.policy = PolicyIdentity(policy_id="p", policy_version=1)

    async def generate(self, request):
        self.asked += 1
        self._require_here()
        return Completion(self.name, FinishReason.FINISH_REASON_STOP, self.policy, Usage())

    async def score(self, request):
        return ScoreResponse(policy=self.policy)

    async def describe(self):
        self.probed += 1
        self._require_here()
        return GetPolicyResponse(model="m", policy=self.policy)

    def _require_here(self):
        if self.away:
            raise make(UnavailableError, self.away, f"no service at {self.name}")


def replicas(*names, model="m"):
    return over([Named(name) for name in names], model)


def over(policies, model="m"):
    described = [GetPolicyResponse(model=model, policy=each.policy) for each in policies]
    return Replicas([Endpoint(each.name, each, one) for each, one in zip(policies, described, strict=True)])  # pyright: ignore


def first_at(spec: str, other: str) -> str:
    """A stream whose calls go there first."""
    return next(f"s {n}" for n in range(99) if _weight(f"s {n}", spec) > _weight(f"s {n}", other))


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
    policies[0].away = "UNAVAILABLE"
    after = chosen(over(policies), 60)
    # only what went to the one that is away is moved
    assert {old for old, new in zip(before, after, strict=True) if old != new} == {"a:1"}
    assert set(after) == {"b:1", "c:1"}


def test_a_replica_that_was_away_is_left_alone_for_a_while_and_then_asked_again():
    first, second = policies = [Named("a:1"), Named("b:1")]
    replicated = over(policies)
    AFFINITY.set(first_at("a:1", "b:1"))

    async def calls(count: int) -> set[str]:
        return {(await replicated.generate(GenerateRequest())).text for _ in range(count)}

    first.away = "UNAVAILABLE"
    assert asyncio.run(calls(1 + REST)) == {"b:1"}
    assert (first.asked, first.probed) == (1, 0)
    # still away: it is asked who it is, and no call is made there
    assert asyncio.run(calls(1)) == {"b:1"}
    assert (first.asked, first.probed) == (1, 1)
    first.away = ""
    assert asyncio.run(calls(REST)) == {"b:1"}
    assert asyncio.run(calls(1)) == {"a:1"}
    second.away = "UNAVAILABLE"
    assert asyncio.run(calls(3)) == {"a:1"}
    assert (first.probed, second.probed) == (2, 0)


def test_a_call_that_ran_into_its_deadline_is_made_nowhere_else_until_it_is_tried_again():
    first, second = policies = [Named("a:1"), Named("b:1")]
    AFFINITY.set(first_at("a:1", "b:1"))
    first.away = "DEADLINE_EXCEEDED"
    replicated = over(policies)
    with pytest.raises(UnavailableError, match="no service at a:1"):
        asyncio.run(replicated.generate(GenerateRequest()))
    assert (first.asked, second.asked) == (1, 0)
    assert asyncio.run(replicated.generate(GenerateRequest())).text == "b:1"
    assert (first.asked, second.asked) == (1, 1)


def test_what_another_version_generates_is_not_taken_and_the_replica_is_away():
    first, second = policies = [Named("a:1"), Named("b:1")]
    AFFINITY.set(first_at("a:1", "b:1"))
    replicated = over(policies)
    assert asyncio.run(replicated.generate(GenerateRequest())).text == "a:1"  # the control
    first.policy = PolicyIdentity(policy_id="p", policy_version=2)
    for _ in range(REST + 3):
        assert asyncio.run(replicated.generate(GenerateRequest())).text == "b:1"
    assert (first.asked, first.probed) == (2, 1)
    # it may come back; the other one will not serve the first version again
    second.away = "UNAVAILABLE"
    with pytest.raises(UnavailableError, match="no service at b:1"):
        asyncio.run(replicated.generate(GenerateRequest()))


def test_another_version_at_the_only_address_stops_the_run_at_once():
    only = Named("a:1")
    replicated = over([only])
    assert asyncio.run(replicated.score(ScoreRequest())).policy == only.policy
    only.policy = PolicyIdentity(policy_id="p", policy_version=2)
    for call in (replicated.generate(GenerateRequest()), replicated.score(ScoreRequest())):
        with pytest.raises(UnavailableError, match="serves version 2 of p now, and served version 1 of p"):
            asyncio.run(call)
    error = make(UnavailableError, CHANGED, "another")
    with pytest.raises(Outage, match=r"^another$"):
        Tries(Patience(), 0).pause(error, successes=99)
    # the control: who is away among others that answer is tried again
    assert Tries(Patience(), 0).pause(make(UnavailableError, "UNAVAILABLE", "away"), successes=99)


def test_only_when_nobody_answers_is_a_call_unanswered():
    policies = [Named("a:1"), Named("b:1")]
    for each in policies:
        each.away = "UNAVAILABLE"
    with pytest.raises(UnavailableError, match="no service at"):
        asyncio.run(over(policies).generate(GenerateRequest()))
    assert [each.asked for each in policies] == [1, 1]


def test_addresses_where_nobody_answers_are_left_out_and_said_unless_that_is_all(capsys):
    async def found(specs: str) -> Endpoint:
        async with opened(specs, "lines") as endpoint:
            return endpoint

    some = asyncio.run(found("127.0.0.1:9, extractive"))
    assert some.description.model_free
    assert some.left_out == ("127.0.0.1:9",)
    assert capsys.readouterr().err == "policy 127.0.0.1:9 does not answer: left out\n"
    assert asyncio.run(found("extractive")).left_out == ()
    with pytest.raises(UnavailableError, match="no service at"):
        asyncio.run(found("127.0.0.1:9, localhost:9"))


def test_one_word_is_the_policy_itself():
    async def found() -> Endpoint:
        async with opened("extractive", "lines") as endpoint:
            return endpoint

    assert not isinstance(asyncio.run(found()).policy, Replicas)
