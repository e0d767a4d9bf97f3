"""Calls of OpenAI-compatible endpoints: what a failure means, and when to try again.

What may pass (429, 5xx, silence) is tried again with growing, jittered pauses, no sooner than a `Retry-After`
allows; what will not is a typed error at once. Neither the key nor any text or reply gets into an error: of
what the endpoint says, only its short code is repeated.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Literal, TypeVar

from memalpha.agent.backoff import Backoff
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

_REFUSALS = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
)
# In no standard; who has too much to do answers with it here and there.
_OVERLOADED = 529
_BUSY = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS, _OVERLOADED)
# A pause longer than this is the caller's to wait out.
_LONGEST_PAUSE = 30.0
_CODE = re.compile(r"[\w.-]{1,64}")

T = TypeVar("T")


class Passing(Exception):
    """What may be over at the next try: the error it stands for, and the seconds to leave it alone."""

    def __init__(self, error: MemalphaError, seconds: float = 0.0) -> None:
        super().__init__(str(error))
        self.error = error
        self.seconds = seconds


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address of a service, for one model.

    Attributes:
        kind: What it is to us; errors are called after it, such as EMBEDDER_UNAVAILABLE.
        url: The address.
        model: The model that is asked for.
        key: Sent as a bearer token unless it is empty.
        attempts: Tries of one call.
        backoff_seconds: First pause between them; then doubled.
    """

    kind: Literal["embedder", "policy"]
    url: str
    model: str
    key: str = field(repr=False)
    attempts: int
    backoff_seconds: float

    def headers(self) -> dict[str, str]:
        """Of every call."""
        return {"Authorization": f"Bearer {self.key}"} if self.key else {}

    async def tried(self, call: Callable[[], Awaitable[T]]) -> T:
        """What a call returns, tried again as long as it raises `Passing`.

        Raises:
            MemalphaError: What `Passing` stood for, after all tries or where the pause is the caller's.
        """
        backoff = Backoff(self.backoff_seconds, _LONGEST_PAUSE)
        for tries in range(self.attempts - 1):
            try:
                return await call()
            except Passing as passing:
                if passing.seconds > _LONGEST_PAUSE:
                    raise passing.error from None
                await asyncio.sleep(max(passing.seconds, backoff.pause(tries)))
        try:
            return await call()
        except Passing as passing:
            raise passing.error from None

    def failure(self, status: int, headers: Mapping[str, str], body: bytes) -> Exception:
        """What an answer other than 200 means."""
        said = f"{self.url} answers {status}{_code(body)}"
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            key = "the key it was given is not accepted" if self.key else "it wants a key"
            return make(UnsupportedError, self.reason("UNAUTHORIZED"), f"{said}: {key}")
        if status == HTTPStatus.NOT_FOUND:
            message = f"{said}: it has no model {self.model!r}, or base_url is wrong"
            return make(NotFoundError, self.reason("NOT_FOUND"), message)
        if status in _REFUSALS:
            what = "a text" if self.kind == "embedder" else "the prompt, its length"
            return make(InvalidInputError, self.reason("REFUSED"), f"{said}: it refuses {what} or the model")
        seconds = retry_after(headers.get("Retry-After", ""))
        if status in _BUSY:
            return Passing(make(BusyError, self.reason("OVERLOADED"), said), seconds)
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return Passing(make(UnavailableError, self.reason("UNAVAILABLE"), said), seconds)
        return make(InternalError, self.reason("BAD_REPLY"), said)

    def silent(self, seconds: float) -> Passing:
        """It said nothing for so long."""
        message = f"no answer from {self.url} within {seconds:g} s"
        return Passing(make(UnavailableError, self.reason("UNAVAILABLE"), message))

    def unreachable(self, error: Exception) -> Passing:
        """Nobody is there, or the connection broke."""
        message = f"no {self.kind} at {self.url}: {type(error).__name__}"
        return Passing(make(UnavailableError, self.reason("UNAVAILABLE"), message))

    def reason(self, name: str) -> str:
        """The stable identifier of an error of this kind of endpoint."""
        return f"{self.kind.upper()}_{name}"


def retry_after(value: str) -> float:
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


def _code(body: bytes) -> str:
    """The short code in an OpenAI error, in brackets; empty if there is none."""
    try:
        error = json.loads(body)["error"]
        found = error.get("code") or error.get("type")
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError):
        return ""
    return f" ({found})" if isinstance(found, str) and _CODE.fullmatch(found) else ""
