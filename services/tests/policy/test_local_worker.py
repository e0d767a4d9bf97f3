"""The thread that generates, when it is short of rows, when a pass fails, and when it ends."""

import asyncio
import math
import re
from typing import Any

import pytest

import memcore
from memalpha.agent import Agent, AgentSettings
from memalpha.agent.protocols import Completion
from memalpha.api.agent.v1alpha1 import agent_service_pb2 as agent_pb
from memalpha.api.policy.v1alpha1 import policy_service_pb2 as pb
from memalpha.client import AsyncMemoryClient
from memalpha.config import PolicySettings
from memalpha.errors import InternalError, UnavailableError
from memalpha.policy.engine import InProcessPolicy, opened
from memalpha.policy.local import batch, sampling
from memalpha.policy.local.batch import Batch, _passes
from memalpha.policy.local.job import Job
from memalpha.policy.local.model import Model
from memalpha.transport import AsyncEmbeddedTransport

from .engines import local

torch: Any = pytest.importorskip("torch", reason="needs torch: uv sync --group train")


def asked(seed: int, *, most: int = 30) -> pb.GenerateRequest:
    return pb.GenerateRequest(
        tokens=pb.TokenizedPrompt(token_ids=range(5, 40 + seed)),
        sampling=pb.SamplingParams(seed=seed, temperature=1, max_tokens=most),
        return_tokens=True,
    )


async def test_more_completions_than_rows_take_turns(tiny_folder) -> None:
    async with local(tiny_folder(), rows=3) as service:
        found = await asyncio.gather(*(service.client.generate(asked(n)) for n in range(20)))
    async with local(tiny_folder(), rows=20) as service:
        at_once = await asyncio.gather(*(service.client.generate(asked(n)) for n in range(20)))
    assert [each.token_ids for each in found] == [each.token_ids for each in at_once]


@pytest.mark.parametrize("passes", [0, 3], ids=["while reading prompts", "between two steps"])
async def test_a_pass_that_fails_ends_its_completions_and_nothing_else(
    tiny_folder, monkeypatch, passes
) -> None:
    states, left = Model.states, passes

    def failing(self: Model, *arguments: Any) -> Any:
        nonlocal left
        left -= 1
        if left == -1:
            raise RuntimeError("out of memory")
        return states(self, *arguments)

    async with local(tiny_folder(), rows=4) as service:
        expected = (await service.client.generate(asked(1))).token_ids
        monkeypatch.setattr(Model, "states", failing)
        replies = await asyncio.gather(
            *(service.client.generate(asked(n)) for n in range(4)), return_exceptions=True
        )
        failed = [each for each in replies if isinstance(each, InternalError)]
        assert failed
        assert {each.reason for each in failed} == {"GENERATION_FAILED"}
        assert (await service.client.generate(asked(1))).token_ids == expected


def unsure(monkeypatch: pytest.MonkeyPatch, logprob: float, *, among: int) -> None:
    """Has the last of so many rows draw its token with this logprob."""
    draw = sampling.draw

    def drawn(*given: Any) -> tuple[list[int], list[float]]:
        tokens, scores = draw(*given)
        return tokens, [*scores[:-1], logprob] if len(scores) == among else scores

    monkeypatch.setattr(batch, "draw", drawn)


@pytest.mark.parametrize("logprob", [math.nan, math.inf, -math.inf, -1e30])
async def test_a_logprob_that_is_not_finite_fails_its_completion_and_no_other(
    tiny_folder, monkeypatch, logprob
) -> None:
    made = [asked(n, most=200) for n in range(4)]
    async with local(tiny_folder(), rows=4) as service:
        expected = [(await service.client.generate(each)).token_ids for each in made]
        unsure(monkeypatch, logprob, among=4)
        found = await asyncio.gather(
            *(service.client.generate(each) for each in made), return_exceptions=True
        )
    failed = [each for each in found if isinstance(each, BaseException)]
    # Of four rows one fails, which leaves three. The control: one that is finite, if unlikely, fails none.
    assert len(failed) == (0 if math.isfinite(logprob) else 1)
    assert all(isinstance(each, InternalError) and "must be finite" in str(each) for each in failed)
    assert all(isinstance(each, InternalError) and each.reason == "GENERATION_FAILED" for each in failed)
    kept = [(each, ids) for each, ids in zip(found, expected, strict=True) if isinstance(each, Completion)]
    assert all(each.token_ids == ids for each, ids in kept)
    assert len(kept) == 4 - len(failed)


@pytest.mark.parametrize("logprob", [math.nan, -1.0])
async def test_an_agent_files_nothing_of_a_model_whose_logprobs_are_no_numbers(
    tiny_folder, monkeypatch, logprob
) -> None:
    unsure(monkeypatch, logprob, among=1)
    item = agent_pb.MemorizeItem(item_id="1", text="Ann: I baked bread in Leeds.", event_time="2023-05-09")
    made = agent_pb.MemorizeRequest(bank_id="ann", items=[item], create_bank=True, wait=True)
    with memcore.Store.in_memory() as store:
        memory = AsyncMemoryClient(AsyncEmbeddedTransport(store))
        async with local(tiny_folder()) as service:
            agent = Agent(memory, service.client, AgentSettings(max_new_tokens=8, backoff_seconds=0.001))
            reply = await agent.memorize(made, timeout=60)
        bank = await memory.get_bank("ann")
    if math.isnan(logprob):
        assert [each.state for each in reply.receipts] == [agent_pb.CHUNK_STATE_PARKED]
        assert "must be finite" in bank.failures.message
    else:  # the control
        assert [each.state for each in reply.receipts] == [agent_pb.CHUNK_STATE_MEMORIZED]


@pytest.mark.parametrize("wrong", [math.nan, -math.inf])
async def test_a_score_that_is_not_finite_is_refused(tiny_folder, monkeypatch, wrong) -> None:
    made = pb.ScoreRequest(sequences=[pb.TokenizedPrompt(token_ids=ids) for ids in ([5, 6, 7], [5])])
    logits = Model.logits
    async with local(tiny_folder()) as service:
        monkeypatch.setattr(Model, "logits", lambda self, states: wrong * logits(self, states).abs())
        with pytest.raises(InternalError, match="must be finite") as caught:
            await service.client.score(made)
        monkeypatch.undo()
        assert [len(each.logprobs) for each in (await service.client.score(made)).scores] == [2, 0]
    assert caught.value.reason == "GENERATION_FAILED"


@pytest.mark.parametrize("stream", [True, False])
async def test_a_service_that_does_not_stream_sends_a_completion_whole(
    tiny_folder, monkeypatch, stream: bool
) -> None:
    monkeypatch.setattr("memalpha.policy.local.job._WAKING_SECONDS", 0.0)
    async with local(tiny_folder(), stream=stream) as service:
        pieces = [piece async for piece in service.engine.generate(asked(1))]
        again = await service.client.generate(asked(1))
    # The control: one that streams sends it in parts. The ids are the same.
    assert (len(pieces) == 1) == (not stream)
    assert tuple(each for piece in pieces for each in piece.token_ids) == again.token_ids
    assert len(again.token_ids) == 30


async def test_closing_ends_what_is_in_work_and_what_waits(tiny_folder) -> None:
    settings = PolicySettings.model_validate({"model": str(tiny_folder()), "rows": 1, "device": "cpu"})
    async with opened("transformers", wire_format="lines", settings=settings) as engine:
        policy = InProcessPolicy(engine)
        running = [asyncio.create_task(policy.generate(asked(n, most=3000))) for n in range(3)]
        while engine.load != (1, 2):  # type: ignore[attr-defined]
            await asyncio.sleep(0.01)
    replies = await asyncio.gather(*running, return_exceptions=True)
    assert [type(each) for each in replies] == [UnavailableError] * 3
    with pytest.raises(UnavailableError, match="closing"):
        await policy.generate(asked(1))


async def test_an_end_token_ends_a_completion_and_is_counted_but_not_said(tiny_folder) -> None:
    async with local(tiny_folder()) as service:
        tokenizer = service.engine._served.tokenizer  # type: ignore[attr-defined]
        service.engine._ends = frozenset(range(3, 200))  # type: ignore[attr-defined]
        found = [await service.client.generate(asked(n, most=60)) for n in range(6)]
    ended = [each for each in found if each.finish_reason == pb.FINISH_REASON_STOP]
    assert ended
    for each in ended:
        assert each.token_ids[-1] in range(3, 200)
        assert not set(each.token_ids[:-1]) & set(range(3, 200))
        assert each.text == tokenizer.text(each.token_ids[:-1])


@pytest.mark.parametrize("stops", [[], ["not to be found"]], ids=["no stops", "stops"])
async def test_ids_are_all_there_however_a_completion_ends(tiny_folder, stops) -> None:
    ends = frozenset(range(3, 60))
    async with local(tiny_folder()) as service:
        engine: Any = service.engine
        engine._ends = ends
        made = [asked(n, most=12) for n in range(12)]
        for each in made:
            each.sampling.stop.extend(stops)
        found = await asyncio.gather(*(service.client.generate(each) for each in made))
    reasons = {each.finish_reason for each in found}
    assert reasons == {pb.FINISH_REASON_STOP, pb.FINISH_REASON_LENGTH}
    for each in found:
        ended = each.finish_reason == pb.FINISH_REASON_STOP
        # The end token is there, once and last, if the model wrote it; the limit takes nothing away.
        assert [token in ends for token in each.token_ids[:-1]] == [False] * (len(each.token_ids) - 1)
        assert (each.token_ids[-1] in ends) == ended
        assert ended or len(each.token_ids) == 12
        assert len(each.logprobs) == len(each.versions) == len(each.token_ids)
        assert each.usage.completion_tokens == len(each.token_ids)
        said = each.token_ids[:-1] if ended else each.token_ids
        assert each.text == engine._served.tokenizer.text(said)


async def test_a_stop_text_takes_text_away_but_no_ids(tiny_folder) -> None:
    made = asked(3, most=40)
    async with local(tiny_folder()) as service:
        whole = await service.client.generate(made)
        stop = re.findall("[a-z]{2}", whole.text)[-1]
        made.sampling.stop.append(stop)
        cut = await service.client.generate(made)
    assert cut.finish_reason == pb.FINISH_REASON_STOP
    assert cut.text == whole.text.partition(stop)[0]
    # The ids go on to the one that completed the stop text.
    assert cut.token_ids == whole.token_ids[: len(cut.token_ids)]
    assert stop in service.engine._served.tokenizer.text(cut.token_ids)  # type: ignore[attr-defined]
    assert stop not in service.engine._served.tokenizer.text(cut.token_ids[:-1])  # type: ignore[attr-defined]


async def test_memory_of_long_rows_is_given_back_when_they_are_gone(tiny_folder) -> None:
    long, short = asked(0, most=2), asked(1, most=200)
    long.tokens.token_ids[:] = [5] * 3000
    async with local(tiny_folder()) as service:
        batch: Any = service.engine._worker._batch  # type: ignore[attr-defined]
        seen: list[int] = []
        sweep = batch.sweep

        def watched() -> None:
            sweep()
            seen.append(sum(keys.shape[2] for keys, _ in batch._cache._layers[:1]))

        batch.sweep = watched
        expected = await service.client.generate(short)
        assert max(seen) < 1024
        seen.clear()
        found, _ = await asyncio.gather(service.client.generate(short), service.client.generate(long))
    assert max(seen) >= 3000
    # With one short row left it is short again, and with none there is nothing.
    assert 0 < seen[-2] < 1024
    assert seen[-1] == 0
    assert found.token_ids == expected.token_ids


async def test_a_long_prompt_is_read_without_a_table_of_all_its_pairs(tiny_folder, monkeypatch) -> None:
    attend, masks = torch.nn.functional.scaled_dot_product_attention, []

    def watched(*tensors: Any, attn_mask: Any = None, **more: Any) -> Any:
        masks.append(0 if attn_mask is None else attn_mask.numel())
        return attend(*tensors, attn_mask=attn_mask, **more)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", watched)
    long = asked(0, most=3)
    long.tokens.token_ids[:] = [5] * 3000
    async with local(tiny_folder()) as service:
        found = await service.client.generate(long)
        await service.client.score(pb.ScoreRequest(sequences=[long.tokens]))
    assert len(found.token_ids) == 3
    # Of two layers: the prompt, two steps that see it and what was written, and the score.
    assert masks == [0, 0, 3001, 3001, 3002, 3002, 0, 0]


async def test_a_completion_that_nobody_waits_for_is_never_read(tiny_folder, monkeypatch) -> None:
    admitted: list[Job] = []
    admit = Batch.admit
    monkeypatch.setattr(Batch, "admit", lambda self, jobs: (admitted.extend(jobs), admit(self, jobs)))
    async with local(tiny_folder(), rows=1) as service:
        engine: Any = service.engine
        gone, kept = (engine._job(asked(n, most=2), [5, 6, 7]) for n in range(2))
        engine._worker.submit(kept)
        assert [piece.reason async for piece in kept.pieces()][-1]
        # Once in line, a job is looked at by the worker alone.
        gone.cancel()
        engine._worker._waiting.append(gone)
        with engine._worker._changed:
            engine._worker._changed.notify()
        while engine.load[1]:
            await asyncio.sleep(0.01)
    assert admitted == [kept]


async def test_rows_that_are_read_again_count_with_what_they_wrote(tiny_folder) -> None:
    async with local(tiny_folder()) as service:
        engine: Any = service.engine
        jobs = [engine._job(asked(0), [5] * 10) for _ in range(3)]
    for job, new in zip(jobs, (0, 5000, 4000), strict=True):
        job.new = [5] * new
    # 5010 twice is more than 8192, and so is 4010 three times; twice it is not.
    assert list(_passes(jobs)) == [[jobs[1]], [jobs[2], jobs[0]]]
