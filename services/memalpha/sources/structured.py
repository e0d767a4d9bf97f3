"""JSON with errors that a person can act on."""

import json
from collections.abc import Iterator
from typing import Any

from memalpha.sources.files import Document, SourceError


def parse_json(text: str, where: str) -> Any:
    """Parses one JSON value.

    Args:
        text: the JSON.
        where: how an error names it.

    Raises:
        SourceError: it is not JSON, or nested too deep.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise SourceError(
            f"{where} is not JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        ) from error
    except RecursionError as error:
        raise SourceError(f"{where} is nested too deep") from error
    except ValueError as error:  # an integer of thousands of digits
        raise SourceError(f"{where} is not JSON that can be read: {error}") from error


def parse_lines(document: Document) -> Iterator[tuple[str, Any]]:
    """Yields the value of each line that is not blank, with the name of its place."""
    for number, line in enumerate(document.text.split("\n"), start=1):
        if line.strip():
            where = f"{document.name}, line {number}"
            yield where, parse_json(line, where)


def kind_of(value: object) -> str:
    """Names a JSON value's type for a message."""
    names = {dict: "an object", list: "an array", str: "a string", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
