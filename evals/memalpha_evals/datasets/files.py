"""Reading the official files: errors become `DatasetError`, and texts that no memory can hold are refused."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from memalpha.sources.files import Document, SourceError, load
from memalpha.sources.structured import parse_json, parse_lines
from memalpha_evals.datasets.base import DatasetError


def digest(path: Path) -> str:
    """The sha256 of a file as it lies on disk."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise DatasetError(f"cannot read {path}: {error.strerror}") from error


def read_json(path: Path) -> Any:
    """The JSON value in a file, gzip allowed."""
    try:
        return parse_json(_document(path).text, path.name)
    except SourceError as error:
        raise DatasetError(str(error)) from error


def read_rows(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """Objects of a JSON array or of JSON lines, gzip allowed, each with the name of its place."""
    try:
        document = _document(path)
        if document.text.lstrip().startswith("["):
            values = enumerate(parse_json(document.text, path.name), start=1)
            rows = [(f"{path.name}, row {number}", value) for number, value in values]
        else:
            rows = list(parse_lines(document))
    except SourceError as error:
        raise DatasetError(str(error)) from error
    for where, row in rows:
        if not isinstance(row, dict):
            raise DatasetError(f"{where} must be an object")
    return rows


def encodable(text: str, where: str) -> str:
    """Refuses what JSON can escape but UTF-8 cannot hold."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DatasetError(f"{where} holds half a surrogate pair, which is not text") from error
    return text


def check_unique(names: Iterable[str], what: str) -> None:
    """Refuses a name that comes twice."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise DatasetError(f"{what} must be unique, but {name!r} comes twice")
        seen.add(name)


def _document(path: Path) -> Document:
    try:
        return load(str(path))
    except OSError as error:
        raise DatasetError(f"cannot read {path}: {error.strerror}") from error
