"""What every engine keeps, over the network. An engine is excused only from what it says it cannot do."""

import asyncio
import json
import re
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

import memcore
from memalpha.agent import Agent, AgentSettings
from memalpha.api.agent.v1alpha1 import agent_service_pb2 as agent_pb
from memalpha.api.policy.v1alpha1 import policy_service_pb2 as pb
from memalpha.client import AsyncMemoryClient
from memalpha.errors import (
    BusyError,
    ConflictError,
    InvalidInputError,
    OutOfRangeError,
    UnsupportedError,
)
from memalpha.transport import AsyncEmbeddedTransport

from .engines import Endpoint, Service, behind, local, over, serving
from .support import request

CHUNK = "Ann: I baked bread in Leeds yesterday."


# vLLM takes its time to start, and its libraries warn of one another.
VLLM = pytest.param("vllm", marks=[pytest.mark.timeout(600), pytest.mark.filterwarnings("ignore")])


@pytest.fixture(params=["extractive", "openai", "transformers", VLLM])
def engine(request, record_property):
    """Opens the engine as a service; keyword arguments are settings."""
    record_property("engine", request.param)
    if request.param == "vllm":
        shared = request.getfixturevalue("vllm_core")()
        # Above all tiny checkpoints, which have folders of their own.
        return lambda pause=0.0, **settings: over(shared, weights_root=shared[0].parents[1], **settings)
    if request.param == "transformers":
        folder = request.getfixturevalue("tiny_folder")()
        return lambda pause=0.0, **settings: local(folder, weights_root=folder.parents[1], **settings)
    if request.param == "openai":
        return lambda pause=0.0, **settings: behind(Endpoint(pause=pause), **settings)
    return lambda **_: serving("extractive")


def asked(*, chunk: str = CHUNK, tokens: bool = False, **sampling) -> pb.GenerateRequest:
    """A prompt as the agent renders it."""
    made = request(chunk, wire_format="lines")
    made.sampling.CopyFrom(pb.SamplingParams(**{"max_tokens": 40, **sampling}))
    made.return_tokens = tokens
    return made


async def pieces(service: Service, made: pb.GenerateRequest) -> list[pb.GenerateResponse]:
    return [piece async for piece in service.engine.generate(made)]


async def idle(service: Service) -> None:
    """Waits until nothing is in work."""
    async with asyncio.timeout(20):
        while service.servicer._completions.inside or getattr(service.engine, "load", (0, 0)) != (0, 0):
            await asyncio.sleep(0.01)


async def test_an_engine_says_who_it_is_and_how_it_writes(engine) -> None:
    async with engine() as service:
        described = service.described
    assert described.engine in ("extractive", "openai", "transformers", "vllm")
    assert described.policy.policy_id
    assert described.wire_format == "lines"
    assert described.model_free == (described.model == "")
    assert described.scores == bool(described.tokenizer_digest)
    assert described.scores or not described.loads_weights


async def test_the_last_piece_alone_says_why_it_ended_and_what_it_cost(engine) -> None:
    async with engine() as service:
        found = await pieces(service, asked())
        assert found
        assert all(piece.policy == service.described.policy for piece in found)
    assert [bool(piece.finish_reason) for piece in found] == [False] * (len(found) - 1) + [True]
    assert [piece.HasField("usage") for piece in found] == [False] * (len(found) - 1) + [True]
    assert found[-1].usage.prompt_tokens > 0


async def test_what_comes_over_the_network_is_what_the_engine_wrote(engine) -> None:
    async with engine() as service:
        written = "".join(piece.text for piece in await pieces(service, asked(seed=1)))
        assert (await service.client.generate(asked(seed=1))).text == written
        assert written


async def test_a_prompt_and_a_seed_give_the_same_text_alone_and_beside_others(engine) -> None:
    made = [asked(chunk=f"Ann: I baked {n} loaves in Leeds.", seed=n, temperature=1) for n in range(16)]
    async with engine() as service:
        alone = [(await service.client.generate(each)).text for each in made]
        together = await asyncio.gather(*(service.client.generate(each) for each in made))
    assert [each.text for each in together] == alone


async def test_a_completion_stays_within_its_limit_of_tokens(engine) -> None:
    async with engine() as service:
        short = await service.client.generate(asked(max_tokens=3))
        long = await service.client.generate(asked(max_tokens=200))
    assert short.usage.completion_tokens <= 3 < long.usage.completion_tokens
    assert service.described.model_free or short.finish_reason == pb.FINISH_REASON_LENGTH


async def test_a_stop_text_ends_a_completion_and_is_no_part_of_it(engine) -> None:
    async with engine() as service:
        if service.described.model_free:
            pytest.skip("model_free: nothing is sampled")
        whole = (await service.client.generate(asked(seed=3, temperature=1, max_tokens=60))).text
        stop = whole[len(whole) // 2 :][:3]
        cut = await service.client.generate(asked(seed=3, temperature=1, max_tokens=60, stop=[stop]))
    assert len(stop) == 3
    assert cut.text.rstrip() == whole[: whole.index(stop)].rstrip()
    assert cut.finish_reason == pb.FINISH_REASON_STOP


@pytest.mark.parametrize(
    ("sampling", "field"),
    [
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"top_p": 0}, "top_p"),
        ({"top_p": 1.1}, "top_p"),
        ({"top_k": -1}, "top_k"),
        ({"min_p": 1.1}, "min_p"),
        ({"stop": [""]}, "stop"),
        ({"stop": ["x"] * 17}, "stop"),
    ],
)
async def test_sampling_out_of_bounds_is_refused_by_name(engine, sampling, field) -> None:
    async with engine() as service:
        with pytest.raises(InvalidInputError, match=rf"sampling\.{field}: must be") as caught:
            await service.client.generate(asked(**sampling))
    assert caught.value.reason == "INVALID_SAMPLING"


async def test_a_request_without_a_prompt_is_refused(engine) -> None:
    async with engine() as service:
        for empty in (pb.GenerateRequest(), pb.GenerateRequest(chat=pb.ChatPrompt())):
            with pytest.raises(InvalidInputError):
                await service.client.generate(empty)
        await idle(service)


async def test_weights_that_are_too_old_are_refused(engine) -> None:
    async with engine() as service:
        served = service.described.policy.policy_version
        made = asked()
        made.min_policy_version = served
        await service.client.generate(made)
        made.min_policy_version = served + 1
        with pytest.raises(UnsupportedError, match=f"min_policy_version {served + 1}: ") as caught:
            await service.client.generate(made)
    assert caught.value.reason == "POLICY_TOO_OLD"


async def test_token_ids_come_back_or_are_said_not_to_be_had(engine) -> None:
    async with engine() as service:
        if not service.described.scores:
            for made in (asked(tokens=True), pb.GenerateRequest(tokens=pb.TokenizedPrompt(token_ids=[1]))):
                with pytest.raises(UnsupportedError) as caught:
                    await service.client.generate(made)
                assert caught.value.reason == "UNIMPLEMENTED"
            return
        found = await service.client.generate(asked(tokens=True, seed=1, temperature=1))
        again = pb.GenerateRequest(
            tokens=pb.TokenizedPrompt(token_ids=found.prompt_token_ids),
            sampling=pb.SamplingParams(max_tokens=40, seed=1, temperature=1),
            return_tokens=True,
        )
        assert (await service.client.generate(again)).token_ids == found.token_ids
        quiet = await service.client.generate(asked(seed=1, temperature=1))
    assert len(found.token_ids) == len(found.logprobs) == found.usage.completion_tokens
    assert len(found.prompt_token_ids) == found.usage.prompt_tokens
    assert (quiet.text, quiet.token_ids, quiet.prompt_token_ids) == (found.text, (), ())


async def test_tokens_are_scored_or_said_not_to_be(engine) -> None:
    made = pb.ScoreRequest(sequences=[pb.TokenizedPrompt(token_ids=ids) for ids in ([5, 6, 7], [5])])
    async with engine() as service:
        if not service.described.scores:
            with pytest.raises(UnsupportedError) as caught:
                await service.client.score(made)
            assert caught.value.reason == "UNIMPLEMENTED"
            return
        reply = await service.client.score(made)
        assert reply.policy == service.described.policy
        for wrong in (pb.ScoreRequest(), pb.ScoreRequest(sequences=[pb.TokenizedPrompt()])):
            with pytest.raises(InvalidInputError):
                await service.client.score(wrong)
    assert [len(each.logprobs) for each in reply.scores] == [2, 0]


async def test_weights_are_exchanged_or_said_not_to_be(engine) -> None:
    async with engine() as service:
        # Others may have had the engine before, and have given it weights.
        served = service.described.policy.policy_version or 1
        made = pb.LoadWeightsRequest(policy_version=served, path="nowhere")
        if service.described.loads_weights:
            # The served version again: it stands for the weights that are served, and no folder has these.
            with pytest.raises(InvalidInputError) as refused:
                await service.client.load_weights(made)
            assert refused.value.reason == "PATH_OUTSIDE_ROOT"
        else:
            with pytest.raises(UnsupportedError) as caught:
                await service.client.load_weights(made)
            assert caught.value.reason == "UNIMPLEMENTED"


async def test_scores_are_the_logprobs_that_tokens_were_drawn_with_or_said_not_to_be_had(engine) -> None:
    async with engine() as service:
        if not service.described.scores:
            with pytest.raises(UnsupportedError) as caught:
                await service.client.score(pb.ScoreRequest(sequences=[pb.TokenizedPrompt(token_ids=[5, 6])]))
            assert caught.value.reason == "UNIMPLEMENTED"
            return
        await check_scores(service)


async def check_scores(service: Service) -> None:
    """Compares scores with the logprobs of what was drawn at temperature 1."""
    from .test_local_parity import PARITY

    drawn, other = [await service.client.generate(asked(tokens=True, seed=n, temperature=1)) for n in (1, 2)]
    rows = [[*drawn.prompt_token_ids, *each.token_ids] for each in (drawn, other)]
    made = pb.ScoreRequest(sequences=[pb.TokenizedPrompt(token_ids=row) for row in rows])
    found, control = [
        list(each.logprobs[len(drawn.prompt_token_ids) - 1 :])
        for each in (await service.client.score(made)).scores
    ]
    assert found == pytest.approx(drawn.logprobs, abs=PARITY)
    # The control: what else was drawn has other logprobs.
    assert control == pytest.approx(other.logprobs, abs=PARITY)
    assert control != pytest.approx(drawn.logprobs, abs=100 * PARITY)


async def test_new_weights_are_served_once_their_probe_holds_or_said_not_to_be(engine, request) -> None:
    async with engine() as service:
        if not service.described.loads_weights:
            with pytest.raises(UnsupportedError) as caught:
                await service.client.load_weights(pb.LoadWeightsRequest(policy_version=2, path="nowhere"))
            assert caught.value.reason == "UNIMPLEMENTED"
            return
        await check_exchange(service, request.getfixturevalue("tiny_folder"))


async def check_exchange(service: Service, tiny_folder: Any) -> None:
    """Has new weights served, and the first ones refused whose probe is of the new ones."""
    from .test_local_parity import PARITY, full_pass, reference

    first, new = tiny_folder(), tiny_folder(seed=1)
    row, models = (5, 9, 77, 300, 8, 8), [reference(new), reference(first)]
    probed, control = [full_pass(model, row[:1], row[1:], 1.0) for model in models]
    assert probed != pytest.approx(control, abs=100 * PARITY)
    version = service.described.policy.policy_version

    def load(folder: Path, number: int) -> pb.LoadWeightsRequest:
        probe = pb.WeightProbe(sequences=[pb.TokenizedPrompt(token_ids=row)], tolerance=PARITY)
        probe.scores.add(logprobs=probed)
        return pb.LoadWeightsRequest(policy_version=number, path=str(folder), probe=probe)

    async def served() -> None:
        """What is written and scored is by the new weights, and not by the first ones."""
        found = await service.client.generate(asked(tokens=True, seed=1, temperature=1))
        assert set(found.versions) == {version + 1}
        told = [full_pass(model, found.prompt_token_ids, found.token_ids, 1.0) for model in models]
        assert list(found.logprobs) == pytest.approx(told[0], abs=PARITY)
        assert list(found.logprobs) != pytest.approx(told[1], abs=100 * PARITY)
        made = pb.ScoreRequest(sequences=[pb.TokenizedPrompt(token_ids=row)])
        reply = await service.client.score(made)
        assert reply.policy.policy_version == version + 1
        assert list(reply.scores[0].logprobs) == pytest.approx(probed, abs=PARITY)

    reply = await service.client.load_weights(load(new, version + 1))
    assert reply.policy.policy_version == version + 1
    assert reply.probe_error <= PARITY
    await served()
    with pytest.raises(ConflictError) as caught:
        await service.client.load_weights(load(first, version + 2))
    assert caught.value.reason == "PROBE_FAILED"
    await served()


# What ends for whoever writes it; a model that was never trained keeps open what it may.
SCHEMA = {
    "type": "object",
    "properties": {
        "kind": {"enum": ["semantic", "episodic"]},
        "words": {"type": "array", "items": {"type": "string", "pattern": "^[a-z]{1,8}$"}, "maxItems": 3},
    },
    "required": ["kind", "words"],
    "additionalProperties": False,
}


def keeps(text: str) -> bool:
    """Whether a text is JSON of the schema."""
    try:
        found = json.loads(text)
    except ValueError:
        return False
    words = found["words"] if isinstance(found, dict) and found.keys() == {"kind", "words"} else [""]
    known = all(re.fullmatch("[a-z]{1,8}", word) for word in words)
    return known and len(words) <= 3 and found["kind"] in ("semantic", "episodic")


async def test_a_schema_is_kept_or_said_not_to_be(engine) -> None:
    async with engine() as service:
        made = asked(json_schema='{"type": "object"}')
        if service.described.engine == "openai":
            await service.client.generate(made)  # the endpoint's business
            return
        if service.described.engine == "vllm":
            sampled: dict[str, Any] = {"temperature": 1, "max_tokens": 200}
            bound = [asked(json_schema=json.dumps(SCHEMA), seed=n, **sampled) for n in range(8)]
            assert all(map(keeps, [(await service.client.generate(each)).text for each in bound]))
            # The control: a model that was never trained writes nothing of the kind by itself.
            free = [asked(seed=n, **sampled) for n in range(8)]
            assert not any(map(keeps, [(await service.client.generate(each)).text for each in free]))
            with pytest.raises(InvalidInputError) as refused:
                await service.client.generate(asked(json_schema='{"type": "object'))
            assert refused.value.reason == "INVALID_SCHEMA"
            return
        with pytest.raises(UnsupportedError) as caught:
            await service.client.generate(made)
    assert caught.value.reason == "UNIMPLEMENTED"


async def test_a_prompt_beyond_the_context_is_refused_by_both_lengths(engine) -> None:
    async with engine(context_tokens=64) as service:
        if not service.described.max_context_tokens or service.described.engine == "openai":
            pytest.skip("no limit, or one that only the endpoint can count")
        with pytest.raises(OutOfRangeError, match="at most 24 of 64 tokens, less the answer") as caught:
            await service.client.generate(asked(max_tokens=40))
    assert caught.value.reason == "PROMPT_TOO_LONG"


async def test_who_stops_reading_frees_the_engine(engine) -> None:
    async with engine(pause=0.05, rows=1) as service:
        running = asyncio.create_task(service.client.generate(asked(max_tokens=2000, temperature=1)))
        await asyncio.sleep(0.1)
        running.cancel()
        await asyncio.wait({running})
        await idle(service)
        await service.client.generate(asked(max_tokens=2))


async def test_too_many_at_once_are_told_to_come_again(engine) -> None:
    async with engine(pause=0.05, rows=1, waiting=1) as service:
        if service.described.model_free:
            pytest.skip("model_free: answers at once")
        made = [asked(max_tokens=200, temperature=1, seed=n) for n in range(6)]
        replies = await asyncio.gather(
            *(service.client.generate(each) for each in made), return_exceptions=True
        )
        refused = [each for each in replies if isinstance(each, Exception)]
        assert refused
        assert all(isinstance(each, BusyError) for each in refused)
        assert {each.reason for each in refused if isinstance(each, BusyError)} == {"POLICY_OVERLOADED"}
        await idle(service)
        await service.client.generate(asked(max_tokens=2))


async def test_an_agent_memorizes_a_conversation_with_it(engine) -> None:
    async with AsyncExitStack() as stack:
        store = stack.enter_context(memcore.Store.in_memory())
        service = await stack.enter_async_context(engine(max_tokens=32))
        memory = AsyncMemoryClient(AsyncEmbeddedTransport(store))
        agent = Agent(memory, service.client, AgentSettings(chunk_tokens=64, max_new_tokens=32))
        items = [
            agent_pb.MemorizeItem(item_id=str(n), text=f"{CHUNK} And {n} cakes.", event_time="2023-05-09")
            for n in range(3)
        ]
        reply = await agent.memorize(
            agent_pb.MemorizeRequest(bank_id="ann", items=items, create_bank=True, wait=True), timeout=60
        )
        assert {receipt.state for receipt in reply.receipts} == {agent_pb.CHUNK_STATE_MEMORIZED}
        moves = [each.cursor_moved async for each in memory.events("ann") if each.HasField("cursor_moved")]
    assert any(move.raw_output.size_bytes for move in moves)
    assert {move.writer.policy_id for move in moves} == {service.described.policy.policy_id}
