"""The OpenAI-compatible embedder against an endpoint in this process."""

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from aiohttp import web

from memalpha.embed.openai import OpenAIEmbedder
from memalpha.endpoint import retry_after
from memalpha.errors import (
    BusyError,
    InternalError,
    InvalidInputError,
    MemalphaError,
    NotFoundError,
    UnavailableError,
    UnsupportedError,
)

from .support import Endpoint, embedder, embeddings, floats, says


@pytest.mark.parametrize("form", ["float", "base64"])
async def test_vectors_come_packed_and_in_the_order_of_the_texts(form) -> None:
    endpoint = Endpoint()
    async with embedder(endpoint, encoding_format=form) as made:
        assert made.dimensions == 0
        # "dog" has three letters and one o; "food" four and two.
        assert await made.embed(["dog", "food"]) == [floats(3, 1), floats(4, 2)]
        assert (made.id, made.dimensions) == ("model-1", 2)
    assert endpoint.bodies == [{"model": "model-1", "input": ["dog", "food"], "encoding_format": form}]
    assert endpoint.keys == [None]


async def test_base64_is_read_although_floats_were_asked_for() -> None:
    endpoint = Endpoint(says(200, embeddings(["dog"], form="base64")))
    async with embedder(endpoint, encoding_format="float") as made:
        assert await made.embed(["dog"]) == [floats(3, 1)]


async def test_many_texts_go_in_batches_and_some_batches_at_once() -> None:
    inside = most = 0
    endpoint = Endpoint()

    async def slow(request: web.Request) -> web.StreamResponse:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        await asyncio.sleep(0.02)
        inside -= 1
        return web.json_response(embeddings((await request.json())["input"]))

    endpoint.script += [slow] * 5
    texts = ["o" * n for n in range(1, 10)]
    async with embedder(endpoint, batch_size=2, concurrency=3) as made:
        assert await made.embed(texts) == [floats(n, n) for n in range(1, 10)]
    assert sorted(len(body["input"]) for body in endpoint.bodies) == [1, 2, 2, 2, 2]
    assert most == 3


async def test_no_texts_need_no_call() -> None:
    endpoint = Endpoint()
    async with embedder(endpoint) as made:
        assert await made.embed([]) == []
    assert endpoint.bodies == []


async def test_a_key_is_sent_and_comes_from_its_file(tmp_path) -> None:
    (tmp_path / "key").write_text("sk-from-file\n")
    endpoint = Endpoint()
    async with embedder(endpoint, api_key="sk-given") as made:
        await made.embed(["dog"])
    async with embedder(endpoint, api_key_file=tmp_path / "key") as made:
        await made.embed(["dog"])
    assert endpoint.keys == ["Bearer sk-given", "Bearer sk-from-file"]


async def test_shorter_vectors_are_asked_for_only_if_wanted() -> None:
    endpoint = Endpoint()
    async with embedder(endpoint, dimensions=2) as made:
        assert made.dimensions == 2
        await made.embed(["dog"])
    async with embedder(endpoint, dimensions=2, shorten=True) as made:
        await made.embed(["dog"])
    assert [body.get("dimensions") for body in endpoint.bodies] == [None, 2]


async def test_a_text_beyond_the_models_context_is_cut() -> None:
    endpoint = Endpoint()
    async with embedder(endpoint, max_tokens=16) as made:
        await made.embed([" dog" * 100])
    # " dog" is one token.
    assert endpoint.bodies[0]["input"] == [" dog" * 16]


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
async def test_what_may_pass_is_tried_again(status) -> None:
    endpoint = Endpoint(says(status), says(status))
    async with embedder(endpoint) as made:
        assert await made.embed(["dog"]) == [floats(3, 1)]
    assert len(endpoint.bodies) == 3


async def test_the_next_try_waits_as_long_as_the_endpoint_says() -> None:
    endpoint = Endpoint(says(429, **{"Retry-After": "1"}))
    loop = asyncio.get_running_loop()
    begin = loop.time()
    async with embedder(endpoint) as made:
        await made.embed(["dog"])
    assert loop.time() - begin >= 1


async def test_a_longer_wait_than_half_a_minute_is_left_to_the_caller() -> None:
    endpoint = Endpoint(says(429, **{"Retry-After": "31"}))
    async with embedder(endpoint) as made:
        with pytest.raises(BusyError):
            await made.embed(["dog"])
    assert len(endpoint.bodies) == 1


def test_a_time_to_retry_may_be_seconds_or_a_date() -> None:
    assert [retry_after(value) for value in ("", "7", "soon", "-1")] == [0, 7, 0, 0]
    in_a_minute = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    assert 50 < retry_after(in_a_minute) <= 60
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0


@pytest.mark.parametrize(
    ("status", "kind", "reason"),
    [
        (429, BusyError, "EMBEDDER_OVERLOADED"),
        (500, UnavailableError, "EMBEDDER_UNAVAILABLE"),
    ],
)
async def test_what_does_not_pass_is_an_error_after_all_tries(status, kind, reason) -> None:
    endpoint = Endpoint(*[says(status)] * 10)
    async with embedder(endpoint, attempts=3) as made:
        with pytest.raises(kind) as caught:
            await made.embed(["dog"])
    assert caught.value.reason == reason
    assert len(endpoint.bodies) == 3


@pytest.mark.parametrize(
    ("status", "kind", "reason"),
    [
        (400, InvalidInputError, "EMBEDDER_REFUSED"),
        (401, UnsupportedError, "EMBEDDER_UNAUTHORIZED"),
        (404, NotFoundError, "EMBEDDER_NOT_FOUND"),
        (302, InternalError, "EMBEDDER_BAD_REPLY"),
    ],
)
async def test_what_will_not_pass_is_an_error_at_once(status, kind, reason) -> None:
    endpoint = Endpoint(says(status))
    async with embedder(endpoint) as made:
        with pytest.raises(kind) as caught:
            await made.embed(["dog"])
    assert caught.value.reason == reason
    assert len(endpoint.bodies) == 1


async def test_an_error_repeats_the_code_but_neither_texts_nor_the_key() -> None:
    said = {"error": {"message": "bad key sk-secret for: Ann's dog", "code": "invalid_api_key"}}
    async with embedder(Endpoint(says(401, said)), api_key="sk-secret") as made:
        with pytest.raises(UnsupportedError) as caught:
            await made.embed(["Ann's dog"])
    assert "answers 401 (invalid_api_key): the key it was given is not accepted" in str(caught.value)
    assert "secret" not in f"{caught.value!r}{made._settings!r}"
    assert "dog" not in str(caught.value)


@pytest.mark.parametrize(
    "body",
    [
        None,
        {"data": []},
        {"data": "dog"},
        {"data": [{"index": 1, "embedding": [1.0, 2.0]}]},
        {"data": [{"index": 0, "embedding": None}]},
        {"data": [{"index": 0, "embedding": ["a"]}]},
        {"data": [{"index": 0, "embedding": "!"}]},
        {"data": [{"index": 0, "embedding": "AAAA"}]},
        {"data": [{"index": 0, "embedding": []}]},
        {"data": [{"index": 0, "embedding": [float("nan"), 1.0]}]},
        {"data": [{"index": 0, "embedding": [float("inf"), 1.0]}]},
        {"data": [{"index": 0, "embedding": [1e300, 1.0]}]},
        {"data": [{"index": 0, "embedding": [10**400, 1.0]}]},
        {"data": [{"index": 0, "embedding": [0.0, 0.0]}]},
    ],
)
async def test_a_reply_without_usable_vectors_is_refused(body) -> None:
    async with embedder(Endpoint(says(200, body))) as made:
        with pytest.raises(InternalError) as caught:
            await made.embed(["dog"])
    assert caught.value.reason == "EMBEDDER_BAD_REPLY"


async def test_vectors_of_another_length_are_refused_by_both_lengths() -> None:
    async with embedder(Endpoint(), dimensions=3) as made:
        with pytest.raises(UnsupportedError, match="must have 3 numbers, got 2") as caught:
            await made.embed(["dog"])
    assert caught.value.reason == "EMBEDDER_DIMENSIONS"


async def test_a_length_that_changes_is_refused() -> None:
    grown = {"data": [{"index": 0, "embedding": [1.0, 2.0, 3.0]}]}
    endpoint = Endpoint()
    async with embedder(endpoint) as made:
        await made.embed(["dog"])
        endpoint.script = [says(200, grown)]
        with pytest.raises(UnsupportedError, match="must have 2 numbers, got 3"):
            await made.embed(["dog"])


async def test_silence_is_an_outage_after_its_time() -> None:
    async def silent(_request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(5)
        raise AssertionError

    async with embedder(Endpoint(silent), timeout_seconds=0.05, attempts=1) as made:
        with pytest.raises(UnavailableError, match=r"no answer from .* within 0\.05 s"):
            await made.embed(["dog"])


async def test_nobody_at_the_address_is_an_outage() -> None:
    async with embedder(Endpoint(), base_url="http://127.0.0.1:9/v1", attempts=2) as made:
        with pytest.raises(UnavailableError, match=r"no embedder at http://127\.0\.0\.1:9/v1/embeddings"):
            await made.embed(["dog"])


async def test_one_batch_that_fails_ends_the_others() -> None:
    endpoint = Endpoint(says(400), *[says(500)] * 100)
    async with embedder(endpoint, batch_size=1, attempts=20, backoff_seconds=1) as made:
        async with asyncio.timeout(1):
            with pytest.raises(MemalphaError):
                await made.embed(["dog", "cat", "cow"])


async def test_a_call_can_be_cancelled_while_it_waits() -> None:
    async with embedder(Endpoint(*[says(500)] * 10), backoff_seconds=30) as made:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await made.embed(["dog"])


def test_a_key_file_that_is_not_there_is_named(tmp_path) -> None:
    from memalpha.config import EmbedderSettings

    settings = EmbedderSettings.model_validate(
        {"kind": "openai", "model": "m", "api_key_file": tmp_path / "no"}
    )
    with pytest.raises(InvalidInputError, match=r"api_key_file .*no: No such file"):
        OpenAIEmbedder(settings)
