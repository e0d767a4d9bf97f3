"""Rules of what callers hand to the agent, checked before anything is stored.

A request may become several batches, and a batch that is refused must not leave earlier ones behind: what the
memory would refuse in a text is refused here, for the whole request.
"""

from __future__ import annotations

import re
from datetime import date

from memalpha.agent.chunking import MOST_SPEAKER_CHARACTERS
from memalpha.api.agent.v1alpha1.agent_service_pb2 import (
    AnswerRequest,
    ConsolidateRequest,
    MemorizeItem,
    MemorizeRequest,
    RecallRequest,
)
from memalpha.errors import InvalidInputError, make

_MOST_ITEM_ID_BYTES = 200
_MOST_SOURCE_BYTES = 1024
_MOST_METADATA_BYTES = 16 << 10
_MOST_QUERY_BYTES = 64 << 10
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_HOUR_MINUTE = r"(?:[01]\d|2[0-3]):[0-5]\d"
_EVENT_TIME = re.compile(
    rf"(\d{{4}}-\d\d-\d\d)(?:T{_HOUR_MINUTE}(?::(?:[0-5]\d|60)(?:\.\d+)?)?(?:Z|[+-]{_HOUR_MINUTE})?)?",
    re.ASCII,
)


def memorize_request(request: MemorizeRequest) -> None:
    """Checks a request to memorize.

    Raises:
        InvalidInputError: The message names the item, the rule and the value.
    """
    if not request.items:
        raise _invalid("NO_ITEMS", "items must hold at least one item, got none")
    texts: dict[str, MemorizeItem] = {}
    for index, item in enumerate(request.items):
        _item(f"items[{index}]", item)
        if texts.setdefault(item.item_id, item).text != item.text:
            raise _invalid(
                "ITEM_ID_REUSED", f"items[{index}].item_id {item.item_id!r} came before with another text"
            )


def recall_request(request: RecallRequest) -> None:
    """Checks a question.

    Raises:
        InvalidInputError: The message names the parameter, the rule and the value.
    """
    _question("query", request.query)
    _extent(request)


def answer_request(request: AnswerRequest) -> None:
    """Checks a question that a reader is to answer.

    Raises:
        InvalidInputError: The message names the parameter, the rule and the value.
    """
    _question("question", request.question)
    _at_most("prefix", request.prefix, _MOST_QUERY_BYTES - len(request.question.encode("utf-8", "replace")))
    _extent(request)
    if request.HasField("max_tokens") and request.max_tokens < 1:
        raise _invalid("INVALID_MAX_TOKENS", f"max_tokens must be at least 1, got {request.max_tokens}")


def consolidate_request(request: ConsolidateRequest) -> None:
    """Checks a request to put a bank's memories in order.

    Raises:
        InvalidInputError: INVALID_MAX_PIECES.
    """
    if request.HasField("max_pieces"):
        most_pieces(request.max_pieces)


def most_pieces(max_pieces: int) -> None:
    """Checks how many pieces of a bank are to be put in order.

    Raises:
        InvalidInputError: INVALID_MAX_PIECES.
    """
    if not 1 <= max_pieces <= 10_000:
        message = f"max_pieces must be between 1 and 10000, got {max_pieces}"
        raise _invalid("INVALID_MAX_PIECES", message)


def recall_limit(limit: int) -> None:
    """Checks how many memories of each type are asked for.

    Raises:
        InvalidInputError: INVALID_LIMIT.
    """
    if not 1 <= limit <= 1000:
        raise _invalid("INVALID_LIMIT", f"limit must be between 1 and 1000, got {limit}")


def recall_budget(token_budget: int) -> None:
    """Checks how many o200k tokens a context may take.

    Raises:
        InvalidInputError: INVALID_TOKEN_BUDGET.
    """
    if not 64 <= token_budget <= 1_000_000:
        message = f"token_budget must be between 64 and 1000000, got {token_budget}"
        raise _invalid("INVALID_TOKEN_BUDGET", message)


def _question(name: str, text: str) -> None:
    if not text.strip():
        raise _invalid("EMPTY_QUERY", f"{name} must not be empty or blank, got {text[:20]!r}")
    _at_most(name, text, _MOST_QUERY_BYTES)


def _extent(request: RecallRequest | AnswerRequest) -> None:
    if request.HasField("limit"):
        recall_limit(request.limit)
    if request.HasField("token_budget"):
        recall_budget(request.token_budget)


def _item(name: str, item: MemorizeItem) -> None:
    if not item.item_id:
        raise _invalid("EMPTY_ITEM_ID", f"{name}.item_id must be 1 to {_MOST_ITEM_ID_BYTES} bytes, got none")
    _at_most(f"{name}.item_id", item.item_id, _MOST_ITEM_ID_BYTES)
    _no_control(f"{name}.item_id", item.item_id)
    if not item.text.strip():
        raise _invalid("EMPTY_TEXT", f"{name}.text must not be empty or blank, got {item.text[:20]!r}")
    if "\0" in item.text:
        at = item.text.index("\0")
        raise _invalid("NUL_IN_TEXT", f"{name}.text must not hold a NUL character, got one at {at}")
    if len(item.speaker) > MOST_SPEAKER_CHARACTERS:
        message = (
            f"{name}.speaker must be at most {MOST_SPEAKER_CHARACTERS} characters, got {len(item.speaker)}"
        )
        raise _invalid("TOO_LONG", message)
    _no_control(f"{name}.speaker", item.speaker)
    _at_most(f"{name}.source", item.source, _MOST_SOURCE_BYTES)
    _no_control(f"{name}.source", item.source)
    _at_most(f"{name}.metadata", "".join(map("".join, item.metadata.items())), _MOST_METADATA_BYTES)
    _event_time(f"{name}.event_time", item.event_time)


def _event_time(name: str, value: str) -> None:
    match = _EVENT_TIME.fullmatch(value)
    if not value or (match and _is_date(match.group(1))):
        return
    example = "an ISO 8601 date or date-time such as 2023-05-08 or 2023-05-08T13:56"
    raise _invalid("INVALID_EVENT_TIME", f"{name} must be {example}, got {value[:100]!r}")


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _at_most(name: str, value: str, limit: int) -> None:
    size = len(value.encode("utf-8", "replace"))
    if size > limit:
        raise _invalid("TOO_LONG", f"{name} must be at most {limit} bytes, got {size}")


def _no_control(name: str, value: str) -> None:
    if found := _CONTROL.search(value):
        message = f"{name} must not hold control characters, got {found.group()!r} at {found.start()}"
        raise _invalid("CONTROL_CHARACTER", message)


def _invalid(reason: str, message: str) -> InvalidInputError:
    return make(InvalidInputError, reason, message)
