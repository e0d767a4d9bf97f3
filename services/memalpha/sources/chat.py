"""Chats in the message form of the OpenAI API: an array, an object with `messages`, or either line by line.

A message may carry `name`, and a time as `time`, `timestamp` or `created_at`. Tool calls and tool results
are kept as text; a part that is no text leaves its type in brackets.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from memalpha.agent.chunking import Turn
from memalpha.sources.files import Document, SourceError
from memalpha.sources.structured import kind_of, parse_json, parse_lines
from memalpha.sources.times import event_time

_TIME_KEYS = ("time", "timestamp", "created_at")


def turns(document: Document, speaker: str = "") -> list[Turn]:
    """Reads a chat.

    Args:
        document: JSON or JSON lines.
        speaker: the user's name, for messages of the role `user` that carry none.

    Raises:
        SourceError: it is no chat; the message names the entry and the rule.
    """
    found = (_turn(message, where, document.name, speaker) for where, message in _messages(document))
    result = [turn for turn in found if turn.text.strip()]
    if not result:
        raise SourceError(f"{document.name} holds no message with text")
    return result


def is_message(value: object) -> bool:
    """Tells whether a JSON value has the form of a message, or of an object that holds messages."""
    return isinstance(value, dict) and ("role" in value or isinstance(value.get("messages"), list))


def _messages(document: Document) -> Iterator[tuple[str, Any]]:
    head = document.text.lstrip()[:1]
    if head == "[" or (head == "{" and not _is_line_by_line(document.text)):
        value = parse_json(document.text, document.name)
        yield from _of_value(value, document.name)
    else:
        for where, value in parse_lines(document):
            yield from _of_value(value, where) if not _is_bare(value) else [(where, value)]


def _is_bare(value: object) -> bool:
    return isinstance(value, dict) and "messages" not in value


def _is_line_by_line(text: str) -> bool:
    """An object that ends with its line is a line of several, or the only one: both read the same."""
    try:
        return isinstance(json.loads(text.lstrip().split("\n", 1)[0]), dict)
    except (ValueError, RecursionError):
        return False


def _of_value(value: object, where: str) -> Iterable[tuple[str, Any]]:
    messages = value.get("messages") if isinstance(value, dict) else value
    if not isinstance(messages, list):
        raise SourceError(
            f'{where} must be an array of messages or an object with "messages", not {kind_of(value)}'
        )
    return ((f"{where}, message {number}", message) for number, message in enumerate(messages, start=1))


def _turn(message: object, where: str, source: str, user: str) -> Turn:
    if not isinstance(message, dict):
        raise SourceError(f"{where} must be an object with role and content, not {kind_of(message)}")
    role = message.get("role")
    if not isinstance(role, str) or not role.strip():
        raise SourceError(f'{where}: "role" must be a string such as "user", not {json.dumps(role)[:60]}')
    name = message.get("name")
    speaker = name if isinstance(name, str) and name.strip() else (user or role) if role == "user" else role
    text = "\n".join([*_content(message.get("content"), where), *_calls(message.get("tool_calls"))])
    return Turn(text=text, speaker=" ".join(speaker.split()), event_time=_time(message, where), source=source)


def _content(content: object, where: str) -> Iterator[str]:
    parts = content if isinstance(content, list) else [] if content is None else [content]
    for part in parts:
        if isinstance(part, str):
            yield part
        elif isinstance(part, dict) and isinstance(part.get("text"), str):
            yield part["text"]
        elif isinstance(part, dict) and isinstance(part.get("type"), str):
            yield f"[{part['type']}]"
        else:
            raise SourceError(
                f'{where}: "content" must be a string or a list of text parts, not {kind_of(part)}'
            )


def _calls(calls: object) -> Iterator[str]:
    for call in calls if isinstance(calls, list) else []:
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict):
            yield f"[calls {function.get('name')}({function.get('arguments', '')})]"


def _time(message: dict[str, Any], where: str) -> str:
    key = next((key for key in _TIME_KEYS if message.get(key) not in (None, "")), None)
    try:
        return event_time(message[key]) if key else ""
    except ValueError as error:
        raise SourceError(f"{where}: {error}") from error
