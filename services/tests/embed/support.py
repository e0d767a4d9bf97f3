"""An endpoint that speaks the OpenAI protocol as its script says, and vectors that can be derived by hand."""

import base64
import struct
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from memalpha.config import EmbedderSettings
from memalpha.embed.openai import OpenAIEmbedder

Step = Callable[[web.Request], Coroutine[Any, Any, web.StreamResponse]]


def numbers(text: str) -> list[float]:
    """The stub's vector of a text: its length, and how many of its letters are `o`."""
    return [float(len(text)), float(text.count("o"))]


def floats(*values: float) -> bytes:
    return struct.pack(f"<{len(values)}f", *values)


def embeddings(texts: Sequence[str], *, form: str = "float") -> dict[str, Any]:
    """A reply for texts, last one first: the order is in `index`."""
    data = [{"index": n, "embedding": _written(numbers(text), form)} for n, text in enumerate(texts)]
    return {"object": "list", "data": data[::-1]}


def _written(values: list[float], form: str) -> object:
    return base64.b64encode(floats(*values)).decode() if form == "base64" else values


class Endpoint:
    """Answers each call with a step of its script, and with vectors once that is over."""

    def __init__(self, *script: Step) -> None:
        self.script = list(script)
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str | None] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.bodies.append(body)
        self.keys.append(request.headers.get("Authorization"))
        if self.script:
            return await self.script.pop(0)(request)
        return web.json_response(embeddings(body["input"], form=body["encoding_format"]))


def says(status: int, body: object = None, **headers: str) -> Step:
    """A step that answers with this."""

    async def step(_request: web.Request) -> web.StreamResponse:
        return web.json_response(body, status=status, headers=headers)

    return step


@asynccontextmanager
async def served(endpoint: Endpoint) -> AsyncIterator[str]:
    """Serves an endpoint on loopback; yields its base URL."""
    application = web.Application()
    application.router.add_post("/v1/embeddings", endpoint.answer)
    async with TestServer(application) as server:
        yield f"{server.make_url('/v1')}/"


@asynccontextmanager
async def embedder(endpoint: Endpoint, **settings: object) -> AsyncIterator[OpenAIEmbedder]:
    """An embedder of `model-1` at the endpoint; pauses between tries are of a millisecond."""
    async with served(endpoint) as url:
        defaults = {"kind": "openai", "model": "model-1", "base_url": url}
        made = OpenAIEmbedder(
            EmbedderSettings.model_validate({**defaults, "backoff_seconds": 0.001, **settings})
        )
        try:
            yield made
        finally:
            await made.close()
