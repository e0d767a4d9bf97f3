r"""Bytes become text, or an error that says where they do not.

A file is read whole, decompressed if it is gzip, and must be UTF-8 without NUL. Line ends become `\n`; a
byte order mark goes. Nothing else is changed.
"""

import gzip
import sys
import zlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

MAX_BYTES = 512 * 1024 * 1024
"""Most bytes of one file, after decompression: it is held in memory."""

_GZIP_MAGIC = b"\x1f\x8b"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


class SourceError(ValueError):
    """A file that cannot be memorized. The message names the file, the place, the rule and the value."""


@dataclass(frozen=True, slots=True)
class Document:
    """A file's text and the name it is cited by."""

    name: str
    text: str


def load(path: str) -> Document:
    """Reads a file, or standard input for `-`.

    Raises:
        SourceError: it is missing, unreadable, too large, empty, or not UTF-8 text.
    """
    name = "stdin" if path == "-" else _citable(Path(path).name)
    data = _read(path, name)
    text = _decode(data, name).removeprefix("\ufeff").replace("\r\n", "\n")
    if not text.strip():
        raise SourceError(f"{name} is empty: there is nothing to memorize")
    return Document(name=name, text=text)


def _citable(name: str) -> str:
    """A name without control characters and bytes that are no text; the memory refuses these."""
    printable = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in name)
    return printable.encode("utf-8", "backslashreplace").decode()


def _read(path: str, name: str) -> bytes:
    try:
        if path == "-":
            return _unpack(sys.stdin.buffer, name)
        with Path(path).open("rb") as file:
            return _unpack(file, name)
    except EOFError as error:
        raise SourceError(f"{name}: its gzip data ends early") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise SourceError(f"{name}: its gzip data is damaged ({error})") from error
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror}") from error


def _unpack(stream: BinaryIO, name: str) -> bytes:
    data = _bounded(stream.read(MAX_BYTES + 1), name)
    if not data.startswith(_GZIP_MAGIC):
        return data
    with gzip.GzipFile(fileobj=BytesIO(data)) as unpacked:
        return _bounded(unpacked.read(MAX_BYTES + 1), name)


def _bounded(data: bytes, name: str) -> bytes:
    if len(data) > MAX_BYTES:
        raise SourceError(
            f"{name} is larger than {MAX_BYTES // 2**20} MiB, the most that one file may hold: split it"
        )
    return data


def _decode(data: bytes, name: str) -> str:
    if data.startswith(_UTF16_MARKS):
        raise SourceError(f"{name} is UTF-16; only UTF-8 can be memorized")
    nul = data.find(b"\0")
    if nul >= 0:
        raise SourceError(f"{name} holds a NUL at byte {nul} (line {_line(data, nul)}): it is not plain text")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        place = f"byte {error.start} (line {_line(data, error.start)})"
        raise SourceError(f"{name}: {place} is 0x{data[error.start]:02x}, which is not UTF-8") from error


def _line(data: bytes, offset: int) -> int:
    return data.count(b"\n", 0, offset) + 1
