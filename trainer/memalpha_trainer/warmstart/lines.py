"""Files that grow by whole JSON lines, so that whoever was interrupted goes on where they end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def whole_lines(path: Path) -> list[Any]:
    """What the lines of a file say, none if there is no file; it is cut after the last whole line."""
    if not path.exists():
        return []
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if whole != data:
        path.write_bytes(whole)
    return [json.loads(line) for line in whole.decode().splitlines()]


def append(path: Path, record: Any) -> None:
    """Adds a line; the file and its folder are made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{json.dumps(record)}\n")
