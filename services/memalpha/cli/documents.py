"""What `--json` prints: the API's messages with the API's field names.

Every field without presence is there, also when it is zero; numbers are numbers; an enum is its value's
name in lower case without the type's prefix (`semantic`, not `MEMORY_TYPE_SEMANTIC`); times are ISO 8601;
unset messages and unset optional fields are left out, and so are vectors, which say nothing to a reader.
"""

import json
import sys
from collections.abc import Mapping
from typing import Any

from google.protobuf.descriptor import EnumDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp


def document(message: Message) -> dict[str, Any]:
    """Turns a message into what `json` can print."""
    fields = [
        field
        for field in message.DESCRIPTOR.fields
        if field.type != field.TYPE_BYTES and (not field.has_presence or message.HasField(field.name))
    ]
    return {field.name: _value(field, getattr(message, field.name)) for field in fields}


def enum_name(descriptor: EnumDescriptor, number: int) -> str:
    """Names an enum's value in lower case, without what all values of the enum begin with."""
    value = descriptor.values_by_number.get(number)
    if value is None:
        return str(number)
    zero = descriptor.values_by_number[0].name
    return value.name.removeprefix(zero.removesuffix("UNSPECIFIED")).lower()


def print_document(value: Mapping[str, Any]) -> None:
    """Prints the one document of a command."""
    print(_dumps(value, indent=2))


def print_line(value: Mapping[str, Any]) -> None:
    """Prints one of a command's JSON lines."""
    print(_dumps(value, indent=None))


def _dumps(value: Mapping[str, Any], *, indent: int | None) -> str:
    encoding = (sys.stdout.encoding or "ascii").lower()
    return json.dumps(value, indent=indent, ensure_ascii=encoding not in {"utf-8", "utf8"})


def _value(field: Any, value: Any) -> Any:
    message_type = field.message_type
    if message_type is not None and message_type.GetOptions().map_entry:
        return dict(value)
    return [_single(field, item) for item in value] if field.is_repeated else _single(field, value)


def _single(field: Any, value: Any) -> Any:
    if isinstance(value, Timestamp):
        return value.ToJsonString()
    if isinstance(value, Message):
        return document(value)
    return enum_name(field.enum_type, value) if field.enum_type is not None else value
