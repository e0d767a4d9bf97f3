"""The measurements measure: bounds hold, a barrier costs time, a long conversation is what it is made of."""

import asyncio
from itertools import chain

import pytest
from fakes_run import dataset

from memalpha.errors import InvalidInputError
from memalpha_evals.bench import bars, lockstep, long, scheduling, stub
from memalpha_evals.bench.stub import Latencies
from memcore import count_tokens


def test_latencies_are_drawn_once_and_lengths_are_the_same_for_both_kinds():
    def drawn(kind, seed=7):
        return stub.latencies(kind, 0.2, conversations=64, chunks=(5, 25), questions=10, seed=seed)

    assert drawn("log-normal") == drawn("log-normal") != drawn("log-normal", seed=8)
    assert list(map(len, drawn("fixed").steps)) == list(map(len, drawn("log-normal").steps))
    every = sorted(chain.from_iterable(drawn("log-normal").steps))
    assert every[len(every) // 2] == pytest.approx(0.2, rel=0.1)
    assert set(chain.from_iterable(drawn("fixed").steps)) == {0.2}


def test_bounds_are_those_of_the_calls():
    times = Latencies(((1.0, 2.0), (4.0,)), ((0.5, 3.0), (1.0,)))
    # The first chain takes 1 + 2 + 3, the second 4 + 1.
    assert (times.calls, times.work, times.longest_chain) == (6, 11.5, 6.0)


def test_lock_step_waits_for_the_slowest_of_each_step_and_this_runner_does_not():
    # Two conversations whose slow steps never meet: 3 barriers of 0.2 s and one of questions, against 0.24 s.
    times = Latencies(((0.2, 0.02, 0.02), (0.02, 0.2, 0.02), (0.02, 0.02, 0.2)), ((0.02,),) * 3)
    locked = asyncio.run(lockstep.run(times))
    measured = scheduling.runner(times, 3)
    assert locked >= 0.62
    assert measured.report.calls == times.calls
    assert measured.report.seconds < locked
    assert measured.report.seconds >= times.longest_chain
    assert measured.per_call > 0


def test_a_long_conversation_is_made_of_whole_ones_with_their_questions_and_evidence():
    made = dataset(conversations=3, turns=6)
    first = sum(count_tokens(turn.text) for turn in made.conversations[0].turns)
    joined = long.joined(made, first + 1, 5)
    [conversation] = joined.conversations
    assert len(conversation.turns) == 6 + 5
    assert len(conversation.questions) == 5
    ids = {turn.id for turn in conversation.turns}
    assert all(question.evidence <= ids and question.until is None for question in conversation.questions)
    with pytest.raises(InvalidInputError, match="are wanted"):
        long.joined(made, 10_000, 5)


def test_a_long_conversation_is_memorized_and_asked(tmp_path):
    found = asyncio.run(long.measure("ledger-1x", None, 600, 4, "extractive"))
    assert found["tokens"] >= 600
    assert (found["questions"], found["failed"]) == (4, 0)
    assert found["built_calls"] == found["chunks"] > 6
    assert found["stored_tokens"] > 0
    assert found["peak_mb"] > 10


def test_a_bar_that_is_missed_is_said_and_one_that_is_just_met_is_not():
    def verdicts(cpu=0.3, used=0.9, chain=0.95):
        found = {"limited": {"utilisation": used}, "unlimited": {"of_chain_bound": chain}}
        over = {"slots": 256, "cpu_ms_per_call": cpu}
        content = {"slots": 32, "latencies": {"log-normal": found}, "overhead": over}
        return [bar.row()[-1] for bar in bars.of_scheduler(content)]

    assert verdicts() == ["met", "met", "met"]
    assert verdicts(cpu=0.31) == [bars.MISSED, "met", "met"]
    assert verdicts(used=0.89) == ["met", bars.MISSED, "met"]
    assert verdicts(chain=0.94) == ["met", "met", bars.MISSED]


def test_a_longer_conversation_may_take_longer():
    def met(**changes):
        usual = {"tokens": 1_000_000, "questions": 100, "seconds": 119.0, "peak_mb": 900.0, "failed": 0}
        return [bar.met for bar in bars.of_long(usual | changes)]

    assert met() == [True, True, True]
    assert met(seconds=121.0, tokens=2_000_000) == [True, True, True]
    assert met(seconds=121.0, tokens=10_000) == [False, True, True]
    assert met(peak_mb=1001.0, failed=1) == [True, False, False]
