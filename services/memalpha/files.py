"""Files that are whole or absent, however the process or the machine ends."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def replace(path: Path, text: str | Iterable[str]) -> None:
    """Writes a text, or its pieces, in one go: a reader sees the old file or the new one."""
    drafted = draft(path)
    with drafted.open("w", encoding="utf-8") as file:
        file.writelines([text] if isinstance(text, str) else text)
        file.flush()
        os.fsync(file.fileno())
    drafted.replace(path)
    sync(path.parent)


def draft(path: Path) -> Path:
    """Where a text stands until it takes its place; what is left there by a process that ended is nothing."""
    return path.with_name(f".{path.name}.draft")


def replace_json(path: Path, content: Mapping[str, Any]) -> None:
    """As `replace`, with a JSON document."""
    replace(path, json.dumps(content, ensure_ascii=False, indent=1) + "\n")


def sync(path: Path) -> None:
    """Makes a file, or the names in a folder, durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
