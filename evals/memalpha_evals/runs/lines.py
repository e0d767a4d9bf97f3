"""Files of JSON lines that only grow, and of which no crash leaves more than a torn end.

A last line without its newline was being written when the process ended: readers pass over it, the next
writer removes it. Damage anywhere else is an error, because no crash makes it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from memalpha.errors import CorruptionError, make
from memalpha_evals.rows import Row


def encoded(content: Any) -> str:
    """One line, without its newline."""
    line = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    # Half of a surrogate pair is in no UTF-8, but models write it; its escape is read as what it was.
    return line if _is_utf8(line) else json.dumps(content, separators=(",", ":"))


def whole(path: Path) -> Iterator[tuple[int, bytes]]:
    """Whole lines with the places where they begin; none if there is no file."""
    if not path.exists():
        return
    begin = 0
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                return
            yield begin, line
            begin += len(line)


def parsed(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Objects of whole lines with the places where they begin.

    Raises:
        CorruptionError: DAMAGED_LINE; it names file and line.
    """
    for number, (begin, line) in enumerate(whole(path), 1):
        yield begin, _object(path, number, line)


def rows(path: Path) -> Iterator[tuple[int, Row]]:
    """Rows of whole lines with the places where they begin.

    Raises:
        CorruptionError: DAMAGED_LINE; it names file, line and field.
    """
    for number, (begin, found) in enumerate(parsed(path), 1):
        try:
            row = Row.from_dict(found)
        except ValueError as error:
            message = f"{path}, line {number} is no row: {error}"
            raise make(CorruptionError, "DAMAGED_LINE", message, path=path, line=number) from None
        yield begin, row


def cut(path: Path) -> None:
    """Removes a torn end."""
    if path.exists():
        size = sum(len(line) for _, line in whole(path))
        os.truncate(path, size)


def _object(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        message = f"{path}, line {number} is no JSON object: {line[:60]!r}"
        raise make(CorruptionError, "DAMAGED_LINE", message, path=path, line=number)
    return found


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
