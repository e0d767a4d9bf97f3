"""The openai engine against an endpoint in this process that misbehaves as endpoints do."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from aiohttp import web

from memalpha.agent import wire
from memalpha.agent.tools import ToolCall, schemas
from memalpha.api.policy.v1alpha1 import policy_service_pb2 as pb
from memalpha.config import PolicySettings
from memalpha.errors import (
    BusyError,
    InternalError,
    InvalidInputError,
    NotFoundError,
    UnavailableError,
    UnsupportedError,
)
from memalpha.policy.openai.engine import OpenAIEngine, written
from memalpha.policy.openai.events import Answer

from .engines import Endpoint, Step, behind, chunk, says, streams

DONE = b"data: [DONE]\n\n"
SAID = (chunk({"content": "S+ Ann "}), chunk({"content": "bakes\n"}), chunk({}, "stop"))


def asked(text: str = "hello", **sampling) -> pb.GenerateRequest:
    messages = [
        pb.ChatMessage(role=pb.ROLE_SYSTEM, content="Be brief."),
        pb.ChatMessage(role=pb.ROLE_USER, content=text),
    ]
    return pb.GenerateRequest(chat=pb.ChatPrompt(messages=messages), sampling=pb.SamplingParams(**sampling))


def called(number: int, name: str | None, arguments: str) -> dict[str, object]:
    function = {"name": name, "arguments": arguments} if name else {"arguments": arguments}
    return {"tool_calls": [{"index": number, "id": f"call-{number}", "function": function}]}


async def test_what_is_sent_is_a_chat_completion_with_what_is_not_the_endpoints_default() -> None:
    endpoint = Endpoint([streams(*SAID, DONE)])
    async with behind(endpoint) as service:
        await service.client.generate(asked(max_tokens=9, seed=4, top_k=5, stop=["x"]))
    assert endpoint.bodies == [
        {
            "model": "model-1",
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "hello"},
            ],
            "stream": True,
            "stream_options": {"include_usage": True},
            "temperature": 0.0,
            "top_k": 5,
            "max_tokens": 9,
            "seed": 4,
            "stop": ["x"],
        }
    ]
    assert endpoint.keys == [None]


async def test_settings_stand_where_a_request_leaves_it_open() -> None:
    endpoint = Endpoint([streams(*SAID, DONE), streams(*SAID, DONE)])
    settings = {"temperature": 1, "max_tokens": 7, "max_tokens_name": "max_completion_tokens"}
    async with behind(endpoint, **settings) as service:
        await service.client.generate(asked())
        await service.client.generate(asked(temperature=0.5))
    assert "temperature" not in endpoint.bodies[0]
    assert endpoint.bodies[0]["max_completion_tokens"] == 7
    assert endpoint.bodies[1]["temperature"] == 0.5


async def test_text_comes_as_it_is_written_with_the_endpoints_usage() -> None:
    usage = {
        "prompt_tokens": 11,
        "completion_tokens": 5,
        "prompt_tokens_details": {"cached_tokens": 8},
    }
    endpoint = Endpoint(
        [streams(*SAID, f'data: {{"choices": [], "usage": {json.dumps(usage)}}}\n\n'.encode(), DONE)]
    )
    async with behind(endpoint) as service:
        pieces = [piece async for piece in service.engine.generate(asked())]
    assert [piece.text for piece in pieces] == ["S+ Ann ", "bakes\n", ""]
    assert pieces[-1].usage == pb.Usage(prompt_tokens=11, completion_tokens=5, cached_tokens=8)


async def test_usage_is_counted_here_where_the_endpoint_says_nothing() -> None:
    async with behind(Endpoint([streams(*SAID, DONE)])) as service:
        found = await service.client.generate(asked())
    # "Be brief." has three o200k tokens, "hello" one.
    assert found.usage.prompt_tokens == 4
    assert found.usage.completion_tokens > 0


@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_events_are_read_however_the_bytes_are_cut(size) -> None:
    whole = b": ping\r\n\r\n" + b"".join(SAID).replace(b"\n\n", b"\r\n\r\n") + chunk({"content": ""}) + DONE
    whole = whole.replace(b"bakes", "bäkt".encode())
    cut = [whole[n : n + size] for n in range(0, len(whole), size)]
    async with behind(Endpoint([streams(*cut)])) as service:
        assert (await service.client.generate(asked())).text == "S+ Ann bäkt\n"


async def test_native_calls_come_out_in_the_policys_wire_format() -> None:
    insert = {"memory_type": "semantic_memory", "content": "Ann bakes"}
    text = json.dumps(insert)
    parts = [
        chunk({"content": "I will."}),
        chunk(called(0, "new_memory_insert", text[:9])),
        chunk(called(0, None, text[9:])),
        chunk(called(1, "memory_delete", '{"memory_type": "semantic_memory", "memory_id": "a"}')),
        chunk({}, "tool_calls"),
        DONE,
    ]
    made = asked()
    made.chat.tools_json = json.dumps(schemas())
    endpoint = Endpoint([streams(*parts), streams(*parts)])
    for name in ("lines", "hermes"):
        async with behind(endpoint, wire_format=name) as service:
            found = await service.client.generate(made)
        assert found.finish_reason == pb.FINISH_REASON_STOP
        calls = [each for each in wire.get(name).parse(found.text) if isinstance(each, ToolCall)]
        assert [each.name for each in calls] == ["new_memory_insert", "memory_delete"]
        assert calls[0].arguments == insert
    assert endpoint.bodies[0]["tools"] == schemas()


@pytest.mark.parametrize("name", wire.NAMES)
@pytest.mark.parametrize(
    "call",
    [
        # `lines` would write this as a deletion, which nobody asked for.
        ToolCall("forget_all", {"memory_type": "semantic_memory", "memory_id": "a"}),
        ToolCall("new_memory_insert", {"arguments": '{"memory_type": "sem'}),
        ToolCall("memory_update", {}),
    ],
)
def test_a_call_that_a_format_cannot_say_never_becomes_another_one(name, call) -> None:
    form = wire.get(name)
    found = [each for each in form.parse(written([call], form)) if isinstance(each, ToolCall)]
    assert [(each.name, each.arguments) for each in found] in ([], [(call.name, call.arguments)])


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
async def test_what_may_pass_is_tried_again(status) -> None:
    endpoint = Endpoint([says(status), says(status), streams(*SAID, DONE)])
    async with behind(endpoint) as service:
        assert (await service.client.generate(asked())).text == "S+ Ann bakes\n"
    assert len(endpoint.bodies) == 3


@pytest.mark.parametrize("wait", ["31", format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)])
async def test_a_longer_wait_than_half_a_minute_is_left_to_the_caller(wait) -> None:
    endpoint = Endpoint([says(429, None, **{"Retry-After": wait})])
    async with behind(endpoint) as service:
        with pytest.raises(BusyError):
            await service.client.generate(asked())
    assert len(endpoint.bodies) == 1


@pytest.mark.parametrize(
    ("status", "kind", "reason", "tries"),
    [
        (429, BusyError, "POLICY_OVERLOADED", 3),
        (500, UnavailableError, "POLICY_UNAVAILABLE", 3),
        (400, InvalidInputError, "POLICY_REFUSED", 1),
        (401, UnsupportedError, "POLICY_UNAUTHORIZED", 1),
        (404, NotFoundError, "POLICY_NOT_FOUND", 1),
        (302, InternalError, "POLICY_BAD_REPLY", 1),
    ],
)
async def test_a_failure_is_typed_and_tried_again_only_if_it_may_pass(status, kind, reason, tries) -> None:
    endpoint = Endpoint([says(status)] * 10)
    async with behind(endpoint, attempts=3) as service:
        with pytest.raises(kind) as caught:
            await service.client.generate(asked())
    assert caught.value.reason == reason
    assert len(endpoint.bodies) == tries


async def test_an_error_repeats_the_code_but_neither_texts_nor_the_key() -> None:
    said = {"error": {"message": "bad key sk-secret for: Ann's dog", "code": "invalid_api_key"}}
    async with behind(Endpoint([says(401, said)]), api_key="sk-secret") as service:
        with pytest.raises(UnsupportedError) as caught:
            await service.client.generate(asked("Ann's dog"))
    assert "answers 401 (invalid_api_key): the key it was given is not accepted" in str(caught.value)
    assert "secret" not in f"{caught.value!r}{service.engine.__dict__!r}"
    assert "dog" not in str(caught.value)


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ([b"data: {oops\n\n", DONE], "an event is no JSON"),
        ([b"data: [1]\n\n", DONE], "an event is no JSON object"),
        ([b'data: {"id": 1}\n\n', DONE], "a chunk is not as it must be"),
        ([b'data: {"choices": 3}\n\n', DONE], "a chunk is not as it must be"),
        ([b"<html>Bad gateway</html>"], "ends before the completion does"),
        ([DONE], "ends before the completion does"),
        ([*SAID[:2], DONE], "ends before the completion does"),
        ([*SAID[:2]], "ends before the completion does"),
        ([SAID[0], b"data: {oops\n\n"], "an event is no JSON"),
    ],
)
async def test_a_stream_that_is_none_or_breaks_off_is_an_outage(parts, said) -> None:
    async with behind(Endpoint([streams(*parts)])) as service:
        with pytest.raises(UnavailableError, match=said) as caught:
            await service.client.generate(asked())
    assert caught.value.reason == "POLICY_BAD_REPLY"


async def test_a_connection_that_breaks_before_the_first_chunk_is_tried_again() -> None:
    async def breaks(request: web.Request) -> web.StreamResponse:
        reply = web.StreamResponse()
        await reply.prepare(request)
        assert request.transport is not None
        request.transport.abort()
        return reply

    endpoint = Endpoint([breaks, streams(*SAID, DONE)])
    async with behind(endpoint) as service:
        assert (await service.client.generate(asked())).text == "S+ Ann bakes\n"


async def test_a_connection_that_breaks_later_is_the_callers() -> None:
    async def breaks(request: web.Request) -> web.StreamResponse:
        reply = web.StreamResponse()
        await reply.prepare(request)
        await reply.write(SAID[0])
        await asyncio.sleep(0.05)
        assert request.transport is not None
        request.transport.abort()
        return reply

    endpoint = Endpoint([breaks])
    async with behind(endpoint) as service:
        with pytest.raises(UnavailableError) as caught:
            await service.client.generate(asked())
    assert caught.value.reason == "POLICY_UNAVAILABLE"
    assert len(endpoint.bodies) == 1


@pytest.mark.parametrize(
    ("error", "kind", "tries"),
    [
        ({"code": "rate_limit_exceeded"}, BusyError, 2),
        ({"code": 429, "message": "slow down"}, BusyError, 2),
        ({"code": None, "type": "insufficient_quota"}, BusyError, 2),
        ({"code": "context_length_exceeded", "type": "invalid_request_error"}, InvalidInputError, 1),
        ({"code": 400, "type": "BadRequestError"}, InvalidInputError, 1),
        ({"code": "400"}, InvalidInputError, 1),
        ({"code": "invalid_api_key"}, UnsupportedError, 1),
        ({"code": "model_not_found"}, NotFoundError, 1),
        ({"type": "NotFoundError"}, NotFoundError, 1),
        ({"code": "overloaded"}, BusyError, 2),
        ({"type": "overloaded_error", "message": "Overloaded"}, BusyError, 2),
        ({"type": "rate_limit_error"}, BusyError, 2),
        ({"type": "request_too_large"}, InvalidInputError, 1),
        ({"type": "api_error"}, UnavailableError, 2),
        ({"code": 529}, BusyError, 2),
        ({"code": 503}, UnavailableError, 2),
        # What is no status, or nothing known, may pass.
        ({"code": 7}, UnavailableError, 2),
        ({"code": "²²²"}, UnavailableError, 2),
        ({"code": True, "type": ["x"]}, UnavailableError, 2),
        ("something went wrong", UnavailableError, 2),
    ],
)
async def test_an_error_inside_of_the_stream_is_what_its_status_would_have_said(error, kind, tries) -> None:
    said = json.dumps({"error": error})
    endpoint = Endpoint([streams(f"data: {said}\n\n".encode())] * 3)
    async with behind(endpoint, attempts=2) as service:
        with pytest.raises(kind):
            await service.client.generate(asked())
    assert len(endpoint.bodies) == tries


async def test_an_error_that_is_an_event_of_its_own_or_comes_late_is_understood_too() -> None:
    event = {"object": "error", "message": "too long", "type": "BadRequestError", "code": 400}
    late = json.dumps({"error": {"code": "rate_limit_exceeded"}})
    endpoint = Endpoint(
        [streams(f"data: {json.dumps(event)}\n\n".encode()), streams(SAID[0], f"data: {late}\n\n".encode())]
    )
    async with behind(endpoint, attempts=1) as service:
        with pytest.raises(InvalidInputError, match="answers 400"):
            await service.client.generate(asked())
        with pytest.raises(BusyError, match=r"answers 429 \(rate_limit_exceeded\)"):
            await service.client.generate(asked())


async def test_a_filtered_completion_is_a_refusal_of_this_prompt() -> None:
    async with behind(Endpoint([streams(SAID[0], chunk({}, "content_filter"), DONE)])) as service:
        with pytest.raises(InvalidInputError) as caught:
            await service.client.generate(asked())
    assert caught.value.reason == "POLICY_REFUSED"


async def test_silence_is_an_outage_after_its_time() -> None:
    async with behind(Endpoint(pause=5), timeout_seconds=0.05, attempts=1) as service:
        with pytest.raises(UnavailableError, match=r"no answer from .* within 0\.05 s"):
            await service.client.generate(asked())


async def test_nobody_at_the_address_is_an_outage() -> None:
    async with behind(Endpoint(), base_url="http://127.0.0.1:9/v1", attempts=2) as service:
        with pytest.raises(UnavailableError, match=r"no policy at http://127\.0\.0\.1:9/v1/chat/completions"):
            await service.client.generate(asked())


async def test_who_stops_reading_ends_the_call_of_the_endpoint() -> None:
    endpoint = Endpoint(pause=0.2)
    async with behind(endpoint) as service:
        running = asyncio.create_task(service.client.generate(asked()))
        async with asyncio.timeout(5):
            while not endpoint.inside:
                await asyncio.sleep(0.01)
            running.cancel()
            while endpoint.inside:
                await asyncio.sleep(0.01)


async def test_a_schema_becomes_the_endpoints_response_format() -> None:
    endpoint = Endpoint([streams(*SAID, DONE)])
    async with behind(endpoint) as service:
        await service.client.generate(asked(json_schema='{"type": "object"}'))
        with pytest.raises(InvalidInputError, match="json_schema must be JSON"):
            await service.client.generate(asked(json_schema="{"))
    assert endpoint.bodies[0]["response_format"]["json_schema"]["schema"] == {"type": "object"}


def test_a_model_without_a_name_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"policy\.model must be the endpoint's name"):
        OpenAIEngine(PolicySettings.model_validate({}), "lines")


async def test_what_is_asked_for_is_sent_even_if_it_is_the_usual_default() -> None:
    endpoint = Endpoint([streams(*SAID, DONE)])
    async with behind(endpoint) as service:
        await service.client.generate(asked(temperature=1, top_p=1, top_k=0))
    # An endpoint may have other defaults of its own; `min_p` nobody asked for.
    assert {"temperature": 1, "top_p": 1, "top_k": 0}.items() <= endpoint.bodies[0].items()
    assert "min_p" not in endpoint.bodies[0]


def part(index: int | None, known_as: str | None, name: str | None, arguments: str) -> dict[str, object]:
    function = {"name": name, "arguments": arguments}
    call = {"index": index, "id": known_as, "function": function}
    return {"tool_calls": [{key: value for key, value in call.items() if value is not None}]}


@pytest.mark.parametrize(
    "parts",
    [
        [(0, "x", "f", '{"a"'), (0, None, None, ": 1}"), (1, "y", "g", "{}")],
        [(1, "y", "g", "{}"), (0, "x", "f", '{"a"'), (0, "x", None, ": 1}")],
        [(0, "x", "f", '{"a"'), (0, None, None, ": 1}"), (0, "y", "g", "{}")],
        [(None, "x", "f", '{"a"'), (None, None, None, ": 1}"), (None, "y", "g", "{}")],
        [(None, "x", "f", '{"a"'), (None, "y", "g", "{}"), (None, "x", None, ": 1}")],
        [(None, None, "f", '{"a": 1}'), (None, None, "g", "{}")],
    ],
    ids=["indices", "out of order", "one index", "no index", "ids alone", "names alone"],
)
def test_native_calls_are_told_apart_as_endpoints_number_them(parts) -> None:
    answer = Answer()
    for each in parts:
        answer.add({"choices": [{"index": 0, "delta": part(*each)}]})
    assert list(answer.native_calls()) == [("f", {"a": 1}), ("g", {})]


async def test_json_that_is_nested_without_end_is_no_json() -> None:
    deep = "[" * 100_000
    event = f"data: {deep}\n\n".encode()
    call = chunk(called(0, "forget_all", deep))
    endpoint = Endpoint([streams(event), streams(call, chunk({}, "tool_calls"), DONE), deep_error(deep)])
    async with behind(endpoint, attempts=1) as service:
        with pytest.raises(UnavailableError, match="an event is no JSON"):
            await service.client.generate(asked())
        assert deep in (await service.client.generate(asked())).text
        with pytest.raises(UnavailableError, match=r"answers 500$"):
            await service.client.generate(asked())
        with pytest.raises(InvalidInputError, match="json_schema must be JSON"):
            await service.client.generate(asked(json_schema=deep))
        made = asked()
        made.chat.tools_json = deep
        with pytest.raises(InvalidInputError, match="tools_json must be a JSON array"):
            await service.client.generate(made)


def deep_error(text: str) -> Step:
    async def step(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=500, text=text, content_type="application/json")

    return step


@pytest.mark.parametrize("depth", [40, 300, 900, 990])
async def test_json_that_is_nested_less_than_the_decoder_bears_is_refused_as_well(depth) -> None:
    deep = '{"a":' * depth + "1" + "}" * depth
    call = chunk(called(0, "forget_all", deep))
    endpoint = Endpoint([streams(f"data: {deep}\n\n".encode()), streams(call, chunk({}, "tool_calls"), DONE)])
    async with behind(endpoint, attempts=1) as service:
        with pytest.raises(UnavailableError, match="an event is no JSON"):
            await service.client.generate(asked())
        assert json.loads((await service.client.generate(asked())).text)["arguments"] == {"arguments": deep}
