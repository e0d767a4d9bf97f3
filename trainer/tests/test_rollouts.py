import asyncio
import json
import random
from contextlib import suppress
from dataclasses import asdict, replace

import pytest

import memcore
from memalpha.agent import Agent
from memalpha.agent.protocols import Completion
from memalpha.api.memory.v1alpha1.memory_pb2 import Chunk
from memalpha.api.policy.v1alpha1.policy_service_pb2 import GenerateRequest
from memalpha.client import AsyncMemoryClient
from memalpha.errors import AlreadyExistsError, InvalidInputError, NotFoundError, UnavailableError
from memalpha.tasks.ledger import ledger
from memalpha.tasks.ledger.memory import write
from memalpha.tasks.ledger.writers import Teacher, WithoutDeletes
from memalpha.tasks.memorized import InlineTransport, Memorized
from memalpha.tasks.writers import Empty, ScriptedPolicy
from memalpha_trainer.records import Rollout, Source, Span
from memalpha_trainer.rollouts import collect
from memalpha_trainer.rollouts.collect import Place
from memalpha_trainer.rollouts.live import Plan, rollouts
from memalpha_trainer.rollouts.policy import Sampling
from memalpha_trainer.rollouts.replay import ReplayRollouts, read_rollouts

from .support import SETTING, SeededPolicy, made, unpaused, written


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    return unpaused(monkeypatch)


def test_a_place_decides_every_seed() -> None:
    here, again = (made(SeededPolicy(), ledger(3), Place(1, 2, 3, 4)) for _ in range(2))
    assert here == again
    for other in (Place(0, 2, 3, 4), Place(1, 0, 3, 4), Place(1, 2, 0, 4), Place(1, 2, 3, 0)):
        assert {each.seed for each in made(SeededPolicy(), ledger(3), other).samples}.isdisjoint(
            each.seed for each in here.samples
        )


def test_each_chunk_has_a_seed_of_its_own() -> None:
    seeds = [sample.seed for sample in made(SeededPolicy(), ledger(3)).samples]
    assert len(set(seeds)) == len(seeds) == 6


def test_an_outage_in_the_middle_changes_nothing() -> None:
    disturbed = SeededPolicy(outages=(3, 5))
    assert made(disturbed, ledger(3)) == made(SeededPolicy(), ledger(3))
    # Begun three times: calls 0–3 ended by the outage at 3, calls 4–5 by that at 5, then six chunks.
    assert len(disturbed.requests) == 4 + 2 + 6


async def kept(store, instance, policy, settings, bank) -> Memorized:
    """As `memorize`, in a bank that the try before it left behind."""
    client, name = AsyncMemoryClient(InlineTransport(store)), instance.instance_id
    with suppress(AlreadyExistsError):
        await client.create_bank(name, bank)
    before = (await client.get_bank(name)).stats.chunk_count
    chunks = [
        Chunk(chunk_id=f"{before}-{place}", text=each.text) for place, each in enumerate(instance.chunks)
    ]
    await client.append_chunks(name, chunks)
    outcomes = [each async for each in Agent(client, policy, settings).memorize_pending(name)]
    return Memorized(client, await client.get_bank(name), tuple(outcomes))


def test_a_try_that_went_on_in_the_bank_of_the_one_before_would_have_rows_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(collect, "memorize", kept)
    assert len(made(SeededPolicy(), ledger(3)).samples) == 6
    # Three chunks are memorized before the outage; the second try finds three that wait, and adds all six.
    assert len(made(SeededPolicy(outages=(3,)), ledger(3)).samples) == 3 + 6


def test_the_line_of_a_rollout_has_all_of_its_fields() -> None:
    found = made(SeededPolicy(), ledger(3))
    assert found.samples[0].operations
    assert found.answers
    assert found.to_json() == json.dumps(asdict(found), ensure_ascii=False, separators=(",", ":"))


def test_an_outage_of_ten_minutes_is_waited_out_and_one_without_end_is_an_error(pauses: list[float]) -> None:
    # Pauses of half a minute at most: nineteen failures are never ten minutes, however short they were.
    assert made(SeededPolicy(outages=tuple(range(19))), ledger(3)).samples
    assert sum(pauses) <= 600
    pauses.clear()
    with pytest.raises(UnavailableError):
        made(SeededPolicy(outages=tuple(range(1000))), ledger(3))
    assert sum(pauses) == pytest.approx(600)


@pytest.mark.parametrize("value", [None, float("nan"), 37, -0.1, "good"])
def test_a_reward_that_is_none_is_an_error_and_not_another_reward(value: object) -> None:
    setting = replace(SETTING, reward=lambda rollout, instance: value)
    with pytest.raises(InvalidInputError, match="must be a number from 0 to 1, not"):
        made(SeededPolicy(), ledger(3), setting=setting)
    right = replace(SETTING, reward=lambda rollout, instance: 1)
    assert made(SeededPolicy(), ledger(3), setting=right).reward == 1.0


def test_requests_ask_for_the_untruncated_distribution() -> None:
    policy = SeededPolicy()
    made(policy, ledger(3))
    for request in policy.requests:
        sampling = request.sampling
        assert (sampling.temperature, sampling.top_p, sampling.top_k, sampling.min_p) == (1.0, 1.0, 0, 0.0)
        assert request.return_tokens


class Careless(SeededPolicy):
    """Draws the ids of all requests from one generator, whatever their seeds are."""

    def __init__(self) -> None:
        super().__init__()
        self._chance = random.Random(1)

    async def generate(self, request: GenerateRequest) -> Completion:
        done = await super().generate(request)
        return replace(done, token_ids=tuple(self._chance.randrange(100) for _ in done.token_ids))


@pytest.mark.parametrize(("kind", "same"), [(SeededPolicy, True), (Careless, False)])
def test_a_rollout_beside_others_is_the_one_alone(kind: type[SeededPolicy], same: bool) -> None:
    places = [(ledger(3), Place(1, 0, 0, index)) for index in range(16)]
    plan = Plan(seed=1, group_size=16, concurrency=16, sampling=Sampling())

    async def all_at_once() -> list[Rollout]:
        policy = kind()
        return await rollouts(policy, await policy.describe(), SETTING, places, plan)

    assert (asyncio.run(all_at_once()) == [made(kind(), *place) for place in places]) == same


class Exchanged(SeededPolicy):
    """Gets other weights before the third token of each completion."""

    async def generate(self, request: GenerateRequest) -> Completion:
        done = await super().generate(request)
        return replace(done, token_ids=done.token_ids[:3], logprobs=done.logprobs[:3], versions=(2, 2, 3))


def test_weights_that_change_within_a_completion_make_two_spans() -> None:
    for sample in made(Exchanged(), ledger(3)).samples:
        assert sample.versions == (Span(2, 2), Span(3, 1))
        assert sample.oldest == 2
    for sample in made(SeededPolicy(version=2), ledger(3)).samples:
        assert sample.versions == (Span(2, 5),)


def test_the_trace_counts_what_the_bank_counts() -> None:
    instance = ledger(5, 4)

    async def stored() -> int:
        with memcore.Store.in_memory() as store:
            return (await write(store, instance, ScriptedPolicy("oracle", Teacher()))).tokens

    assert written(Teacher(), instance).memory_tokens == asyncio.run(stored())


def test_right_answers_rest_on_chunks_that_decide_them() -> None:
    done = written(Teacher())
    assert all(answer.score == 1.0 for answer in done.answers)
    for answer in done.answers:
        assert {source.chunk for source in answer.used} <= set(answer.evidence)


def test_what_was_deleted_is_a_tombstone_of_the_chunk_that_deleted_it() -> None:
    # Of stream 3, chunk 3 cancels Vura's wedding.
    (answer,) = [each for each in written(Teacher()).answers if each.question == "When is Vura's wedding?"]
    assert [(each.chunk, each.deleted) for each in answer.used] == [(3, True)]
    (kept,) = [
        each
        for each in written(WithoutDeletes(Teacher())).answers
        if each.question == "When is Vura's wedding?"
    ]
    assert kept.score == 0.0
    assert [each.deleted for each in kept.used] == [False]


def test_an_empty_memory_rests_on_nothing() -> None:
    assert all(answer.used == () for answer in written(Empty()).answers)


def test_records_survive_a_file_to_the_last_bit(tmp_path) -> None:
    ours = replace(written(Teacher()), reward=0.1 + 0.2)
    file = tmp_path / "rollouts.jsonl"
    file.write_text(ours.to_json() + "\n")
    assert read_rollouts(file) == [ours]
    assert isinstance(read_rollouts(file)[0].answers[0].used[0], Source)


def test_replay_hands_out_a_steps_rollouts_in_order() -> None:
    first = written(Teacher())
    source = ReplayRollouts([replace(first, index=1), first, replace(first, step=2)])
    assert [each.index for each in source.collect(0)] == [0, 1]
    with pytest.raises(NotFoundError, match="no rollouts of step 1; there are those of 0 to 2"):
        source.collect(1)


def test_what_a_killed_run_was_writing_is_passed_over(tmp_path) -> None:
    file = tmp_path / "rollouts.jsonl"
    whole = written(Empty())
    file.write_text(whole.to_json() + "\n" + whole.to_json()[:50])
    assert read_rollouts(file) == [whole]
    with pytest.raises(InvalidInputError, match="No such file"):
        read_rollouts(tmp_path / "nowhere.jsonl")


def test_a_broken_line_is_named(tmp_path) -> None:
    file = tmp_path / "rollouts.jsonl"
    file.write_text(written(Empty()).to_json() + "\n{}\n")
    with pytest.raises(InvalidInputError, match="line 2"):
        read_rollouts(file)
