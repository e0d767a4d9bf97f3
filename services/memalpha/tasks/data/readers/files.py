"""Official files as values: errors become `DatasetError`, and texts that no memory can hold are refused.

Rows of an array or of lines are streamed, so that a file may be larger than memory; gzip is taken anywhere.
"""

import gzip
import hashlib
import io
import json
import re
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from memalpha.sources.files import SourceError, load
from memalpha.sources.structured import kind_of, parse_json

_GZIP_MAGIC = b"\x1f\x8b"
_BLOCK = 1 << 20
"""Characters that are read at once."""
_DECODER = json.JSONDecoder()
_TEXT = re.compile(r"\S")


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
    number, head = 1, file.read(1)
    while head.isspace():
        number, head = number + (head == "\n"), file.read(1)
    if head == "[":
        yield from _elements(_Window(file), name)
        return
    line = head + file.readline()
    while line:
        if line.strip():
            where = f"{name}, line {number}"
            yield where, _parsed(line, where)
        line, number = file.readline(), number + 1


def _parsed(text: str, where: str) -> Any:
    try:
        return parse_json(text, where)
    except SourceError as error:
        raise DatasetError(str(error)) from error


class _Window:
    """The part of a text that is being decoded: what lies behind `_at` is dropped when more is read."""

    def __init__(self, file: io.TextIOWrapper) -> None:
        self._file = file
        self._text = ""
        self._at = 0

    def next(self) -> str:
        """The next character that is no space, or nothing at the end."""
        while True:
            if found := _TEXT.search(self._text, self._at):
                self._at = found.start()
                return found.group()
            self._at = len(self._text)
            if not self._refill():
                return ""

    def skip(self) -> None:
        """Goes past the character that `next` has shown."""
        self._at += 1

    def value(self, where: str) -> Any:
        """The JSON value that begins at the next character."""
        self.next()
        while True:
            try:
                value, self._at = _DECODER.raw_decode(self._text, self._at)
            except RecursionError as error:
                raise DatasetError(f"{where} is not JSON: it is nested too deeply") from error
            except ValueError as error:
                if not self._refill():
                    told = error.msg if isinstance(error, json.JSONDecodeError) else error
                    raise DatasetError(f"{where} is not JSON: {told}") from error
            else:
                return value

    def _refill(self) -> bool:
        """Reads a block, or as much as is held: a value is tried again for each doubling, not each block."""
        rest = self._text[self._at :]
        block = self._file.read(max(_BLOCK, len(rest)))
        self._text, self._at = rest + block, 0
        return bool(block)


def _elements(window: _Window, name: str) -> Iterator[tuple[str, Any]]:
    """Elements of an array whose opening bracket has been read; little more than one is held at a time."""
    number = 1
    while (following := window.next()) != "]":
        where = f"{name}, row {number}"
        if number > 1 and following:
            if following != ",":
                raise DatasetError(f"{name} is not JSON: a comma is missing before row {number}")
            window.skip()
        yield where, window.value(where)
        number += 1
    window.skip()
    if window.next():
        raise DatasetError(f"{name} is not JSON: there is more after the end of its array")
