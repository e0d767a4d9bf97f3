"""No idle slot, no barrier, the longest chain first; what fails is tried again, and ends alone."""

import asyncio
import time

import pytest

from memalpha.agent.backoff import Backoff
from memalpha.errors import (
    BusyError,
    InternalError,
    InvalidInputError,
    OutOfRangeError,
    UnavailableError,
    UnsupportedError,
    make,
)
from memalpha_evals.scheduler import AFFINITY, Limits, Outage, Patience, Scheduler
from memalpha_evals.scheduler.gate import Gate
from memalpha_evals.scheduler.order import Order

AT_ONCE = Patience(tries=3, busy_tries=5, pause=Backoff(0.0, 0.0))


class World:
    """What was called when, how much at once, and what fails. A call takes one turn of the loop or more."""

    def __init__(self, pause=0.0, failures=None):
        self.pause = pause
        self.failures = failures or {}
        self.calls: list[str] = []
        self.keys: dict[str, str] = {}
        self.now = self.most = self.most_tokens = self.tokens = 0
        self.open = self.most_open = 0
        self.failed: list[str] = []

    async def call(self, name: str, tokens: int) -> None:
        self.now += 1
        self.tokens += tokens
        self.most, self.most_tokens = max(self.most, self.now), max(self.most_tokens, self.tokens)
        self.calls.append(name)
        self.keys[name] = AFFINITY.get()
        await asyncio.sleep(self.pause)
        self.now -= 1
        self.tokens -= tokens
        if errors := self.failures.get(name):
            raise errors.pop(0)


class Line:
    """A chain `a` has steps a0, a1 … and, after so many of them, questions a?0, a?1 …."""

    def __init__(self, world: World, key: str, length: int, questions=(), tokens=1, replayed=0):
        self.world, self.key, self.length = world, key, length
        self.after = list(questions)
        self.size, self.replayed = tokens, replayed
        self.done = 0

    @property
    def endpoint(self) -> str:
        return "policy"

    @property
    def remaining(self) -> int:
        return self.length - max(self.done, self.replayed)

    @property
    def questions(self) -> int:
        return len(self.after)

    def tokens(self, place: int) -> int:
        return 0 if place < self.replayed else self.size

    async def step(self, place: int) -> None:
        if not self.done:
            self.world.open += 1
            self.world.most_open = max(self.world.most_open, self.world.open)
        await self.world.call(f"{self.key}{place}", self.size)
        assert place == self.done
        self.done = place + 1

    async def asks(self, place: int):
        for number, after in enumerate(self.after):
            if after == place:
                yield Asked(self.world, f"{self.key}?{number}", self.size)

    def fail(self, error) -> None:
        self.world.failed.append(self.key)

    async def close(self) -> None:
        self.world.open -= bool(self.done)


class Asked:
    def __init__(self, world: World, name: str, tokens: int):
        self.world, self.name, self.tokens = world, name, tokens

    @property
    def endpoint(self) -> str:
        return "reader"

    async def run(self) -> None:
        await self.world.call(self.name, self.tokens)

    def fail(self, error) -> None:
        self.world.failed.append(self.name)


def run(chains, slots=2, tokens=None, asks=()):
    return asyncio.run(Scheduler(Limits(slots, tokens), AT_ONCE).run(chains, asks))


def test_the_longest_chain_comes_first_and_others_fill_the_slots():
    world = World()
    run([Line(world, "a", 1), Line(world, "b", 4), Line(world, "c", 2)], slots=2)
    # b keeps its slot from its first step to its last; c is longer than a.
    assert world.calls == ["b0", "c0", "b1", "c1", "b2", "a0", "b3"]


def test_asks_that_belong_to_no_chain_fill_the_slots_that_chains_leave():
    world = World()
    report = run([Line(world, "a", 2)], slots=2, asks=[Asked(world, f"?{n}", 1) for n in range(9)])
    assert sorted(world.calls) == ["?0", "?1", "?2", "?3", "?4", "?5", "?6", "?7", "?8", "a0", "a1"]
    assert world.calls[-1].startswith("?")  # nobody waits for all of the others
    assert (report.calls, report.given_up) == (11, 0)


def test_nothing_waits_for_a_step_of_another_chain():
    world = World()
    # Were there barriers, 3 rounds of 2 chains and then 2 rounds of questions: 5 rounds of 2 slots.
    run([Line(world, "a", 3, [3]), Line(world, "b", 1, [1, 1, 1])], slots=2)
    assert world.calls == ["a0", "b0", "a1", "b?0", "a2", "b?1", "b?2", "a?0"]


def test_equal_chains_end_together_though_there_is_one_more_than_slots():
    world = World()
    # 3 chains of 10 on 2 slots: 15 rounds if they take turns, 20 if one has to wait for the others' ends.
    rounds = []
    chains = [Line(world, key, 10) for key in "abc"]
    run(chains, slots=2)
    rounds = [world.calls[at : at + 2] for at in range(0, 30, 2)]
    assert all(len({name[0] for name in pair}) == 2 for pair in rounds)


def test_few_of_many_chains_are_open_at_a_time():
    world = World()
    run([Line(world, f"{number}-", 10, [10]) for number in range(200)], slots=4)
    assert len(world.calls) == 200 * 11
    assert world.most_open <= 3 * 4


def test_questions_of_ended_chains_come_before_new_short_chains():
    order: Order[str] = Order(2)
    order.add("new", "short", 2)
    order.add("ask", "question")
    assert order.first(outstanding=100) == "question"
    # Unless it would be the last to end: 2 steps take as long as what is left over both slots.
    assert order.first(outstanding=4) == "short"
    order.add("step", "begun", 5)
    assert order.first(outstanding=4) == "begun"
    assert [order.take(4) for _ in range(4)] == ["begun", "short", "question", None]


def test_no_more_is_in_flight_than_slots_and_tokens_allow():
    world = World()
    run([Line(world, f"{number}-", 3, [3] * 4, tokens=10) for number in range(9)], slots=5)
    assert world.most == 5
    world = World()
    run([Line(world, f"{number}-", 3, [3] * 4, tokens=10) for number in range(9)], slots=5, tokens=25)
    assert (world.most, world.most_tokens) == (2, 20)


def test_a_call_larger_than_all_tokens_is_made_alone():
    world = World()
    run([Line(world, f"{number}-", 2, tokens=10) for number in range(3)], slots=5, tokens=5)
    assert (world.most, len(world.calls)) == (1, 6)


def test_every_slot_is_in_use_until_the_last_calls():
    world = World(pause=0.02)
    report = run([Line(world, f"{number}-", 5, [5] * 5) for number in range(16)], slots=8)
    # 160 calls on 8 slots are 20 rounds; the loop's own time is what is missing.
    assert report.utilisation > 0.8
    assert report.calls == 160


def test_calls_of_a_chain_and_of_its_questions_have_its_key():
    world = World()
    run([Line(world, "a", 1, [1]), Line(world, "b", 1, [0])])
    assert world.keys == {"a0": "a", "a?0": "a", "b0": "b", "b?0": "b"}


def test_a_failed_call_is_made_again_a_few_times():
    world = World(failures={"a1": [make(InternalError, "X", "no")] * 2})
    report = run([Line(world, "a", 3)])
    assert world.calls == ["a0", "a1", "a1", "a1", "a2"]
    assert (report.retried, report.given_up) == (2, 0)


def test_a_chain_that_goes_on_failing_ends_and_others_do_not():
    world = World(
        failures={"a1": [make(InternalError, "X", "no")] * 3, "b?1": [make(InternalError, "X", "no")] * 3}
    )
    report = run([Line(world, "a", 3, [0, 3]), Line(world, "b", 1, [1, 1])])
    assert world.failed == ["a", "b?1"] or world.failed == ["b?1", "a"]
    assert "a2" not in world.calls
    assert {"a?0", "b?0"} <= set(world.calls)
    assert report.given_up == 2


def test_an_outage_stops_everything_but_one_silent_call_among_others_does_not():
    def silent():
        return [make(UnavailableError, "UNAVAILABLE", "no service at here:1")] * 3

    world = World(failures={"a0": silent(), "b0": silent()})
    with pytest.raises(Outage, match="here:1"):
        run([Line(world, "a", 5), Line(world, "b", 2)])
    world = World(failures={"a0": silent()})
    run([Line(world, "a", 5), Line(world, "b", 9)])
    assert world.failed == ["a"]
    assert "b8" in world.calls


def test_a_reader_that_answers_says_nothing_of_a_policy_that_does_not():
    silent = [make(UnavailableError, "UNAVAILABLE", "no service at here:1") for _ in range(3)]
    world = World(failures={"a0": silent})
    # b has no step, and its questions are answered while a0 fails: the policy is away all the same
    with pytest.raises(Outage, match="here:1"):
        run([Line(world, "a", 5), Line(world, "b", 0, [0] * 9)])
    assert world.calls.count("a0") == 3
    assert {f"b?{number}" for number in range(4)} <= set(world.calls)
    assert world.failed == []


def test_a_memory_that_is_away_when_it_is_to_show_something_is_an_outage():
    class Away(Line):
        async def asks(self, place):
            raise make(UnavailableError, "UNAVAILABLE", "no memory at here:2")
            yield

    world = World()
    with pytest.raises(Outage, match="here:2"):
        run([Away(world, "a", 5, [5])])
    assert world.failed == []


@pytest.mark.parametrize("kind", [InvalidInputError, UnsupportedError, OutOfRangeError])
def test_a_call_that_would_fail_again_is_not_made_again(kind):
    world = World(failures={"a1": [make(kind, "X", "no")] * 3, "b?0": [make(kind, "X", "no")] * 3})
    report = run([Line(world, "a", 3), Line(world, "b", 1, [1])])
    assert (world.calls.count("a1"), world.calls.count("b?0"), report.retried) == (1, 1, 0)
    assert sorted(world.failed) == ["a", "b?0"]


def test_a_fault_in_the_program_is_not_taken_for_a_failed_call():
    world = World(failures={"a0": [ZeroDivisionError()]})
    with pytest.raises(ExceptionGroup) as raised:
        run([Line(world, "a", 5), Line(world, "b", 2)])
    assert raised.value.subgroup(ZeroDivisionError)
    assert world.failed == []


def test_replayed_steps_take_no_call():
    world = World()
    report = run([Line(world, "a", 5, [5], replayed=3)])
    assert report.calls == 3


def test_a_busy_model_gets_half_once_and_then_more_with_each_success():
    async def scenario():
        gate = Gate(slots=8, most_tokens=None, outstanding=100)
        tickets = [await gate.enter("ask", 1) for _ in range(8)]
        gate.leave(tickets[0], "busy")
        gate.leave(tickets[1], "busy")  # let in before the cut: the same moment of congestion
        assert (gate.limit, gate.cuts) == (4, 1)
        for ticket in tickets[2:]:
            gate.leave(ticket, "done")
        # 4 + 1/4 + 1/4.25 + 1/4.49 + 1/4.71 + 1/4.92 + 1/5.12
        assert gate.limit == 5
        ticket = await gate.enter("ask", 1)
        gate.leave(ticket, "busy")
        return gate.limit, gate.cuts

    assert asyncio.run(scenario()) == (2, 2)


def test_a_model_that_was_busy_gets_everything_in_the_end():
    world = World(failures={f"{number}-0": [make(BusyError, "BUSY", "later")] for number in range(4)})
    report = run([Line(world, f"{number}-", 3) for number in range(8)], slots=8)
    assert world.failed == []
    assert report.cuts >= 1
    assert report.calls == 24


def test_a_cancelled_run_closes_every_open_chain():
    world = World(pause=10)

    async def scenario():
        task = asyncio.create_task(Scheduler(Limits(3), AT_ONCE).run([Line(world, key, 2) for key in "abc"]))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    start = time.monotonic()
    asyncio.run(scenario())
    assert time.monotonic() - start < 5
    assert len(world.calls) == 3


@pytest.mark.parametrize(("slots", "tokens"), [(0, None), (1, 0)])
def test_impossible_limits_are_refused(slots, tokens):
    with pytest.raises(InvalidInputError):
        run([Line(World(), "a", 1)], slots, tokens)
