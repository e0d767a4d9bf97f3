"""Server-sent events, and what a completion's chunks add up to. Pure but for the bytes it is given.

Reads `text/event-stream` (HTML standard, section 9.2), of which endpoints use `data` and comments.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

_DONE = "[DONE]"
_MOST_LINE_BYTES = 16 << 20


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


@dataclass(slots=True)
class Answer:
    """What the chunks of one completion add up to, but for the text, which is handed on at once."""

    finish: str = ""
    usage: dict[str, Any] = field(default_factory=dict)
    calls: dict[int, tuple[str, str]] = field(default_factory=dict)

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
        for _, (name, text) in sorted(self.calls.items()):
            try:
                arguments = json.loads(text or "{}")
            except ValueError:
                arguments = None
            yield name, arguments if isinstance(arguments, dict) else {"arguments": text}

    def _choice(self, choice: dict[str, Any]) -> str:
        self.finish = choice.get("finish_reason") or self.finish
        delta = choice.get("delta") or {}
        for call in delta.get("tool_calls") or ():
            name, arguments = self.calls.get(call["index"], ("", ""))
            function = call.get("function") or {}
            self.calls[call["index"]] = (
                name + (function.get("name") or ""),
                arguments + (function.get("arguments") or ""),
            )
        return "" + (delta.get("content") or "")


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
    try:
        value = json.loads(text)
    except ValueError:
        raise BrokenStream("an event is no JSON") from None
    if not isinstance(value, dict):
        raise BrokenStream("an event is no JSON object")
    return value
