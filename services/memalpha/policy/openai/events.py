"""Server-sent events, and what a completion's chunks add up to. Pure but for the bytes it is given.

Reads `text/event-stream` (HTML standard, section 9.2), of which endpoints use `data` and comments.
"""

from __future__ import annotations

import json
import operator
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from memalpha.agent.wire.jsons import too_deep

_DONE = "[DONE]"
_MOST_LINE_BYTES = 16 << 20
# What endpoints call their errors in a stream, whose HTTP status has been sent by then. Compared in small
# letters without underscores: `not_found_error` and `NotFoundError` are one.
_STATUSES = {
    HTTPStatus.BAD_REQUEST: (
        *("badrequesterror", "invalidrequesterror", "invalidprompt", "stringabovemaxlength"),
        *("contextlengthexceeded", "contentfilter", "contentpolicyviolation", "unprocessableentityerror"),
    ),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: ("requesttoolarge", "requesttoolargeerror"),
    HTTPStatus.UNAUTHORIZED: ("invalidapikey", "authenticationerror"),
    HTTPStatus.FORBIDDEN: ("permissionerror", "permissiondeniederror"),
    HTTPStatus.NOT_FOUND: ("modelnotfound", "notfounderror"),
    HTTPStatus.TOO_MANY_REQUESTS: (
        *("ratelimitexceeded", "ratelimiterror", "insufficientquota", "toomanyrequests"),
        *("requestlimitexceeded", "overloaded", "overloadederror", "engineoverloaded", "serveroverloaded"),
    ),
}
_BY_NAME = {name: status for status, names in _STATUSES.items() for name in names}


class BrokenStream(Exception):
    """The bytes are no such stream; the message says why and repeats nothing of them."""


async def events(chunks: AsyncIterator[bytes]) -> AsyncIterator[dict[str, Any]]:
    """The JSON objects in a stream, up to its end or `[DONE]`.

    Raises:
        BrokenStream: Something is no JSON object, or a line is endless.
    """
    data: list[str] = []
    async for line in _lines(chunks):
        if line.startswith("data:"):
            data.append(line.removeprefix("data:").removeprefix(" "))
        elif not line and data:
            text, data = "\n".join(data), []
            if text.strip() == _DONE:
                return
            yield _object(text)
    # Some endpoints leave out the last blank line.
    if data and "\n".join(data).strip() != _DONE:
        yield _object("\n".join(data))


def failure(event: dict[str, Any]) -> tuple[int, dict[str, Any]] | None:
    """The HTTP status that an event stands for, and its error; None if it reports none."""
    error = event if event.get("object") == "error" else event.get("error")
    if not error:
        return None
    if not isinstance(error, dict):
        return HTTPStatus.INTERNAL_SERVER_ERROR, {}
    found = (_status(error.get(name)) for name in ("code", "status", "type"))
    return next(filter(None, found), HTTPStatus.INTERNAL_SERVER_ERROR), error


def _status(said: object) -> int | None:
    if isinstance(said, str) and not said.isdecimal():
        return _BY_NAME.get(said.lower().replace("_", ""))
    if isinstance(said, (int, str)) and len(str(said)) == 3 and 400 <= int(said) < 600:
        return int(said)
    return None


@dataclass(slots=True)
class Call:
    """A tool that is called in the endpoint's own way, as far as it has come."""

    index: int
    id: str
    name: str = ""
    arguments: str = ""


@dataclass(slots=True)
class Answer:
    """What the chunks of one completion add up to, but for the text, which is handed on at once."""

    finish: str = ""
    usage: dict[str, Any] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)

    def add(self, event: dict[str, Any]) -> str:
        """Takes a chunk; returns its text.

        Raises:
            BrokenStream: It is no chunk of a chat completion.
        """
        try:
            self.usage = event.get("usage") or self.usage
            return "".join([self._choice(choice) for choice in event["choices"] if choice["index"] == 0])
        except (AttributeError, KeyError, TypeError) as error:
            raise BrokenStream(f"a chunk is not as it must be: {type(error).__name__}") from None

    def native_calls(self) -> Iterator[tuple[str, dict[str, object]]]:
        """Names and arguments of the tools that were called; what is no JSON object stays as text."""
        for call in sorted(self.calls, key=lambda call: call.index):
            arguments = _decoded(call.arguments or "{}")
            yield call.name, arguments if isinstance(arguments, dict) else {"arguments": call.arguments}

    def _choice(self, choice: dict[str, Any]) -> str:
        self.finish = "" + (choice.get("finish_reason") or self.finish)
        delta = choice.get("delta") or {}
        for part in delta.get("tool_calls") or ():
            function = part.get("function") or {}
            call = self._call(part.get("index"), part.get("id") or "", named=bool(function.get("name")))
            call.name += function.get("name") or ""
            call.arguments += function.get("arguments") or ""
        return "" + (delta.get("content") or "")

    def _call(self, index: int | None, known_as: str, *, named: bool) -> Call:
        """The call that a part belongs to. Some endpoints give all calls index 0, or none."""
        for call in reversed(self.calls):
            here = index == call.index if index is not None else known_as or not named
            if here and known_as in ("", call.id):
                return call
        self.calls.append(Call(operator.index(len(self.calls) if index is None else index), known_as))
        return self.calls[-1]


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[str]:
    rest = b""
    async for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line.decode("utf-8", "replace").removesuffix("\r")
        if len(rest) > _MOST_LINE_BYTES:
            raise BrokenStream(f"a line of more than {_MOST_LINE_BYTES} bytes")
    if rest:
        yield rest.decode("utf-8", "replace").removesuffix("\r")


def _object(text: str) -> dict[str, Any]:
    value = _decoded(text)
    if value is None:
        raise BrokenStream("an event is no JSON")
    if not isinstance(value, dict):
        raise BrokenStream("an event is no JSON object")
    return value


def _decoded(text: str) -> object:
    """A JSON value; None if it is none, or nested so deep that handling it would run out of stack."""
    try:
        value = json.loads(text)
    except (RecursionError, ValueError):
        return None
    return None if too_deep(value) else value
