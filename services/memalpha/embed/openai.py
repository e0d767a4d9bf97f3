"""Vectors from an OpenAI-compatible endpoint: `POST {base_url}/embeddings`.

Texts go in batches, several at a time; failures are `memalpha.endpoint`'s business.

aiohttp, because a call that waits must end with its caller, and many at once cost far less than with httpx.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import aiohttp

from memalpha.config import EmbedderSettings
from memalpha.embed.packing import checked, packed
from memalpha.endpoint import Endpoint
from memalpha.errors import InternalError, make
from memcore import split_tokens


class OpenAIEmbedder:
    """One model behind one endpoint. Belongs to the event loop of its first call."""

    def __init__(self, settings: EmbedderSettings) -> None:
        """Nothing is sent before the first `embed`.

        Raises:
            InvalidInputError: The key's file cannot be read.
        """
        self._settings = settings
        self._url = f"{settings.base_url}/embeddings"
        self._endpoint = Endpoint(
            kind="embedder",
            url=self._url,
            model=settings.model,
            key=settings.read_key(),
            attempts=settings.attempts,
            backoff_seconds=settings.backoff_seconds,
        )
        self._dimensions = settings.dimensions or 0
        self._slots = asyncio.Semaphore(settings.concurrency)
        self._session: aiohttp.ClientSession | None = None

    @property
    def id(self) -> str:
        """See `memalpha.agent.Embedder`."""
        return self._settings.embedder_id

    @property
    def dimensions(self) -> int:
        """See `memalpha.agent.Embedder`."""
        return self._dimensions

    async def embed(self, texts: Sequence[str]) -> list[bytes]:
        """See `memalpha.agent.Embedder`.

        Raises:
            InvalidInputError: EMBEDDER_REFUSED: the endpoint refuses a text.
            UnsupportedError: EMBEDDER_UNAUTHORIZED, or EMBEDDER_DIMENSIONS: vectors of another length.
            NotFoundError: EMBEDDER_NOT_FOUND: no such model or address.
            BusyError, UnavailableError: EMBEDDER_OVERLOADED, EMBEDDER_UNAVAILABLE, after all tries.
            InternalError: EMBEDDER_BAD_REPLY: no vectors, or ones that are not finite or all zero.
        """
        size = self._settings.batch_size
        try:
            async with asyncio.TaskGroup() as group:
                batches = [
                    group.create_task(self._batch(texts[n : n + size])) for n in range(0, len(texts), size)
                ]
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        return [vector for batch in batches for vector in batch.result()]

    async def close(self) -> None:
        """Closes all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _batch(self, texts: Sequence[str]) -> list[bytes]:
        async with self._slots:
            return await self._endpoint.tried(lambda: self._try(texts))

    async def _try(self, texts: Sequence[str]) -> list[bytes]:
        endpoint = self._endpoint
        try:
            async with self._opened().post(
                endpoint.url, json=self._body(texts), headers=endpoint.headers(), allow_redirects=False
            ) as reply:
                body = await reply.read()
        except TimeoutError:
            raise endpoint.silent(self._settings.timeout_seconds) from None
        except aiohttp.ClientError as error:
            raise endpoint.unreachable(error) from None
        if reply.status != HTTPStatus.OK:
            raise endpoint.failure(reply.status, reply.headers, body)
        return self._vectors(body, len(texts))

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=self._settings.timeout_seconds)
            self._session = aiohttp.ClientSession(timeout=timeout, trust_env=True)
        return self._session

    def _body(self, texts: Sequence[str]) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self._settings.model,
            "input": [_cut(text, self._settings.max_tokens) for text in texts],
            "encoding_format": self._settings.encoding_format,
        }
        if self._settings.shorten:
            body["dimensions"] = self._settings.dimensions
        return body

    def _vectors(self, body: bytes, count: int) -> list[bytes]:
        try:
            data = sorted(json.loads(body)["data"], key=lambda item: item["index"])
            vectors = [_vector(item["embedding"]) for item in data]
            places = [item["index"] for item in data]
        except (KeyError, TypeError, ValueError, OverflowError):
            message = f"{self._url} answers with something that is no list of embeddings"
            raise make(InternalError, "EMBEDDER_BAD_REPLY", message) from None
        if places != list(range(count)):
            message = f"{self._url} must answer with one embedding for each of {count} texts, got {len(data)}"
            raise make(InternalError, "EMBEDDER_BAD_REPLY", message)
        self._dimensions = checked(vectors, self._dimensions, self._url)
        return vectors


def _cut(text: str, most_tokens: int) -> str:
    # A token has at least one byte, so that most texts need not be counted.
    return text if len(text.encode()) <= most_tokens else split_tokens(text, most_tokens)[0]


def _vector(embedding: str | list[float]) -> bytes:
    if isinstance(embedding, str):
        try:
            return base64.b64decode(embedding, validate=True)
        except binascii.Error:
            raise ValueError("embedding must be base64") from None
    return packed(embedding)
