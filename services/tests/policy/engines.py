"""Engines as the tests open them, each behind a real policy service, and an endpoint for `openai`."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from aiohttp import web
from aiohttp.test_utils import TestServer

from memalpha.api.policy.v1alpha1 import policy_service_pb2 as pb
from memalpha.api.policy.v1alpha1.policy_service_pb2_grpc import add_PolicyServiceServicer_to_server
from memalpha.client import AsyncPolicyClient
from memalpha.config import PolicySettings
from memalpha.policy.engine import Engine, opened
from memalpha.services.policy import PolicyServicer

Step = Callable[[web.Request], Coroutine[Any, Any, web.StreamResponse]]
PLACE: dict[str, Any] = {"device": os.environ.get("MEMALPHA_TEST_DEVICE", "cpu")}
"""Where models run in these tests."""
WORDS = "E+ 2023-05-08 Ann baked bread in Leeds on that very day\nnothing else\n"


@dataclass
class Service:
    """A policy service in this process."""

    engine: Engine
    client: AsyncPolicyClient
    servicer: PolicyServicer
    address: str
    described: pb.GetPolicyResponse


@asynccontextmanager
async def serving(name: str, wire_format: str = "lines", **settings: object) -> AsyncIterator[Service]:
    """An engine behind its service."""
    checked = PolicySettings.model_validate(settings)
    async with (
        opened(name, wire_format=wire_format, settings=checked) as engine,
        served(engine) as service,
    ):
        yield service


@asynccontextmanager
async def served(engine: Engine) -> AsyncIterator[Service]:
    """A service over an engine."""
    servicer = PolicyServicer(engine)
    server = grpc.aio.server()
    add_PolicyServiceServicer_to_server(servicer, server)
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    async with AsyncPolicyClient.connect(address) as client:
        yield Service(engine, client, servicer, address, await client.describe())
    await server.stop(1)


def chunk(delta: dict[str, Any], finish: str | None = None, **more: object) -> bytes:
    """One event of a streamed chat completion."""
    event = {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **more}
    return f"data: {json.dumps(event)}\n\n".encode()


def streams(*parts: bytes, status: int = 200) -> Step:
    """A step that streams these bytes and ends."""

    async def step(request: web.Request) -> web.StreamResponse:
        reply = web.StreamResponse(status=status, headers={"Content-Type": "text/event-stream"})
        await reply.prepare(request)
        for part in parts:
            await reply.write(part)
        return reply

    return step


def says(status: int, body: object = None, **headers: str) -> Step:
    """A step that answers with this."""

    async def step(_request: web.Request) -> web.StreamResponse:
        return web.json_response(body, status=status, headers=headers)

    return step


@dataclass
class Endpoint:
    """Answers each call with a step of its script; once that is over, as a model whose tokens are words."""

    script: list[Step] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    # Seconds between two words.
    pause: float = 0.0
    inside: int = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.bodies.append(await request.json())
        self.keys.append(request.headers.get("Authorization"))
        if self.script:
            return await self.script.pop(0)(request)
        self.inside += 1
        try:
            return await self._write(request, self.bodies[-1])
        finally:
            self.inside -= 1

    async def _write(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        text, most = WORDS, body["max_tokens"]
        for stop in body.get("stop", []):
            text = text.partition(stop)[0]
        words = [f"{word} " for word in text.split(" ")]
        reply = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await reply.prepare(request)
        await reply.write(b": keep-alive\n\n" + chunk({"role": "assistant", "content": ""}))
        for word in words[:most]:
            await asyncio.sleep(self.pause)
            await reply.write(chunk({"content": word}))
        usage = {"prompt_tokens": 7, "completion_tokens": len(words[:most])}
        await reply.write(chunk({}, "length" if len(words) > most else "stop"))
        await reply.write(f"data: {json.dumps({'choices': [], 'usage': usage})}\n\n".encode())
        await reply.write(b"data: [DONE]\n\n")
        return reply


@asynccontextmanager
async def endpoint_at(endpoint: Endpoint) -> AsyncIterator[str]:
    """Serves an endpoint on loopback; yields its base URL."""
    application = web.Application()
    application.router.add_post("/v1/chat/completions", endpoint.answer)
    async with TestServer(application, handler_cancellation=True) as server:
        yield f"{server.make_url('/v1')}/"


@asynccontextmanager
async def behind(
    endpoint: Endpoint, wire_format: str = "lines", **settings: object
) -> AsyncIterator[Service]:
    """The openai engine of `model-1` at an endpoint; pauses between tries are of a millisecond."""
    async with endpoint_at(endpoint) as url:
        defaults = {"model": "model-1", "base_url": url, "backoff_seconds": 0.001}
        async with serving("openai", wire_format, **{**defaults, **settings}) as service:
            yield service


def local(folder: Path, **settings: object) -> Any:
    """The transformers engine on a checkpoint."""
    return serving("transformers", **{"model": str(folder), **PLACE, **settings})


@asynccontextmanager
async def over(shared: tuple[Path, Any], **settings: object) -> AsyncIterator[Service]:
    """The vllm engine over a core that others use as well."""
    from memalpha.policy.vllm.engine import VLLMEngine

    folder, core = shared
    checked = PolicySettings.model_validate({"model": str(folder), **PLACE, **settings})
    async with served(VLLMEngine(checked, "lines", core)) as service:
        yield service
