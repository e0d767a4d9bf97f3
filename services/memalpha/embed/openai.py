"""Vectors from an OpenAI-compatible endpoint: `POST {base_url}/embeddings`.

Texts go in batches, several at a time. What may pass (429, 5xx, silence) is tried again with growing,
jittered pauses, no sooner than a `Retry-After` allows; what will not is a typed error at once. Neither the
key nor any text or reply gets into an error: of what the endpoint says, only its short code is repeated.

aiohttp, because a call that waits must end with its caller, and many at once cost far less than with httpx.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

import aiohttp

from memalpha.agent.backoff import Backoff
from memalpha.config import EmbedderSettings
from memalpha.embed.packing import checked, packed
from memalpha.errors import (
    BusyError,
    InternalError,
    InvalidInputError,
    MemalphaError,
    NotFoundError,
    UnavailableError,
    UnsupportedError,
    make,
)
from memcore import split_tokens

_REFUSALS = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
)
_BUSY = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS)
# A pause longer than this is the caller's to wait out.
_LONGEST_PAUSE = 30.0
_CODE = re.compile(r"[\w.-]{1,64}")


class _Passing(Exception):
    """What may be over at the next try: the error it stands for, and the seconds to leave it alone."""

    def __init__(self, error: MemalphaError, seconds: float = 0.0) -> None:
        super().__init__(str(error))
        self.error = error
        self.seconds = seconds


class OpenAIEmbedder:
    """One model behind one endpoint. Belongs to the event loop of its first call."""

    def __init__(self, settings: EmbedderSettings) -> None:
        """Nothing is sent before the first `embed`.

        Raises:
            InvalidInputError: The key's file cannot be read.
        """
        self._settings = settings
        self._key = settings.read_key()
        self._url = f"{settings.base_url}/embeddings"
        self._dimensions = settings.dimensions or 0
        self._backoff = Backoff(settings.backoff_seconds, _LONGEST_PAUSE)
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
            for tries in range(self._settings.attempts - 1):
                try:
                    return await self._try(texts)
                except _Passing as passing:
                    if passing.seconds > _LONGEST_PAUSE:
                        raise passing.error from None
                    await asyncio.sleep(max(passing.seconds, self._backoff.pause(tries)))
            try:
                return await self._try(texts)
            except _Passing as passing:
                raise passing.error from None

    async def _try(self, texts: Sequence[str]) -> list[bytes]:
        try:
            async with self._opened().post(
                self._url, json=self._body(texts), headers=self._headers(), allow_redirects=False
            ) as reply:
                body = await reply.read()
        except TimeoutError:
            message = f"no answer from {self._url} within {self._settings.timeout_seconds:g} s"
            raise _Passing(make(UnavailableError, "EMBEDDER_UNAVAILABLE", message)) from None
        except aiohttp.ClientError as error:
            message = f"no embedder at {self._url}: {type(error).__name__}"
            raise _Passing(make(UnavailableError, "EMBEDDER_UNAVAILABLE", message)) from None
        if reply.status != HTTPStatus.OK:
            raise self._failure(reply, body)
        return self._vectors(body, len(texts))

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=self._settings.timeout_seconds)
            self._session = aiohttp.ClientSession(timeout=timeout, trust_env=True)
        return self._session

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._key}"} if self._key else {}

    def _body(self, texts: Sequence[str]) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self._settings.model,
            "input": [_cut(text, self._settings.max_tokens) for text in texts],
            "encoding_format": self._settings.encoding_format,
        }
        if self._settings.shorten:
            body["dimensions"] = self._settings.dimensions
        return body

    def _failure(self, reply: aiohttp.ClientResponse, body: bytes) -> Exception:
        status = reply.status
        said = f"{self._url} answers {status}{_code(body)}"
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            key = "the key it was given is not accepted" if self._key else "it wants a key"
            return make(UnsupportedError, "EMBEDDER_UNAUTHORIZED", f"{said}: {key}")
        if status == HTTPStatus.NOT_FOUND:
            message = f"{said}: it has no model {self._settings.model!r}, or base_url is wrong"
            return make(NotFoundError, "EMBEDDER_NOT_FOUND", message)
        if status in _REFUSALS:
            return make(InvalidInputError, "EMBEDDER_REFUSED", f"{said}: it refuses a text or the model")
        if status in _BUSY:
            seconds = _retry_after(reply.headers.get("Retry-After", ""))
            return _Passing(make(BusyError, "EMBEDDER_OVERLOADED", said), seconds)
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            seconds = _retry_after(reply.headers.get("Retry-After", ""))
            return _Passing(make(UnavailableError, "EMBEDDER_UNAVAILABLE", said), seconds)
        return make(InternalError, "EMBEDDER_BAD_REPLY", said)

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


def _code(body: bytes) -> str:
    """The short code in an OpenAI error, in brackets; empty if there is none."""
    try:
        error = json.loads(body)["error"]
        found = error.get("code") or error.get("type")
    except (AttributeError, KeyError, TypeError, ValueError):
        return ""
    return f" ({found})" if isinstance(found, str) and _CODE.fullmatch(found) else ""


def _retry_after(value: str) -> float:
    """Seconds that a `Retry-After` header asks to wait; 0 if it does not."""
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        until = parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return max(0.0, (until - datetime.now(UTC)).total_seconds())
