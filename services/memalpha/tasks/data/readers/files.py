"""Official files as values: errors become `DatasetError`, and texts that no memory can hold are refused.

Rows of an array or of lines are streamed, so that a file may be larger than memory; gzip is taken anywhere.
"""

import gzip
import hashlib
import io
import json
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from memalpha.sources.files import SourceError, load
from memalpha.sources.structured import kind_of, parse_json

_GZIP_MAGIC = b"\x1f\x8b"
_BLOCK = 1 << 16


class DatasetError(SourceError):
    """A file that is not what its reader expects. The message names the place, the rule and the value."""


def digest(path: Path) -> str:
    """The sha256 of a file as it lies on disk."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DatasetError(f"cannot read {path}: {error.strerror}") from error


def read_json(path: Path) -> Any:
    """The JSON value in a file."""
    try:
        return parse_json(load(str(path)).text, path.name)
    except SourceError as error:
        raise DatasetError(str(error)) from error


def read_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Objects of a JSON array or of JSON lines, each with the name of its place."""
    empty = True
    with open_text(path) as file:
        for where, row in _values(file, path.name):
            empty = False
            if not isinstance(row, dict):
                raise DatasetError(f"{where} must be an object, not {kind_of(row)}")
            yield where, row
    if empty:
        raise DatasetError(f"{path.name} is empty: it has no rows")


@contextmanager
def open_text(path: Path, encoding: str = "utf-8-sig") -> Iterator[io.TextIOWrapper]:
    """Opens a text file; what fails while it is read becomes an error that names it."""
    try:
        with path.open("rb") as raw:
            packed = raw.peek(2)[:2] == _GZIP_MAGIC
            binary = gzip.GzipFile(fileobj=raw) if packed else raw
            with io.TextIOWrapper(binary, encoding=encoding) as text:  # pyright: ignore[reportArgumentType]
                yield text
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path.name} is not {encoding.removesuffix('-sig').upper()}: {error}") from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DatasetError(f"{path.name}: its gzip data is damaged or ends early") from error
    except OSError as error:
        raise DatasetError(f"cannot read {path}: {error.strerror}") from error


def encodable(text: str, where: str) -> str:
    """Refuses what JSON can escape but UTF-8 cannot hold."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DatasetError(f"{where} holds half a surrogate pair, which is not text") from error
    return text


def text_of(row: dict[str, Any], key: str, where: str) -> str:
    """A row's text under a key, refused if it is missing or blank."""
    value = row.get(key)
    if not isinstance(value, str) or not value.strip():
        raise DatasetError(f'{where} needs a "{key}" that is not empty')
    return encodable(value, where)


def list_of(row: dict[str, Any], key: str, where: str) -> list[Any]:
    """A row's array under a key."""
    value = row.get(key)
    if not isinstance(value, list):
        raise DatasetError(f'{where}: "{key}" must be an array, not {kind_of(value)}')
    return value


def check_unique(names: Iterable[str], what: str) -> None:
    """Refuses a name that comes twice."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise DatasetError(f"{what} must be unique, but {name!r} comes twice")
        seen.add(name)


def _values(file: io.TextIOWrapper, name: str) -> Iterator[tuple[str, Any]]:
    """Values of an array, numbered as rows, or of lines; which of them, the first character tells."""
    head, number = file.readline(), 1
    while head and not head.strip():
        head, number = file.readline(), number + 1
    if head.lstrip().startswith("["):
        yield from _elements(head.lstrip()[1:], file, name)
        return
    while head:
        if head.strip():
            where = f"{name}, line {number}"
            yield where, _parsed(head, where)
        head, number = file.readline(), number + 1


def _parsed(text: str, where: str) -> Any:
    try:
        return parse_json(text, where)
    except SourceError as error:
        raise DatasetError(str(error)) from error


def _elements(buffer: str, file: io.TextIOWrapper, name: str) -> Iterator[tuple[str, Any]]:
    """Elements of an array whose opening bracket has been read; little more than one is held at a time."""
    decoder = json.JSONDecoder()
    number, more, first = 1, True, True
    while True:
        buffer = buffer.lstrip()
        rest = buffer if first else buffer.removeprefix(",").lstrip()
        where = f"{name}, row {number}"
        if buffer.startswith("]") and not (buffer[1:] + file.read()).strip():
            return
        try:
            if not first and buffer[:1] not in ("", ","):
                raise DatasetError(f"{name} is not JSON: a comma is missing before row {number}")
            value, end = decoder.raw_decode(rest)
        except (json.JSONDecodeError, RecursionError) as error:
            block = file.read(max(_BLOCK, len(buffer))) if more else ""
            more = bool(block)
            if not more:
                raise DatasetError(f"{where} is not JSON: {error}") from error
            buffer += block
            continue
        yield where, value
        buffer, number, first = rest[end:], number + 1, False
