"""Which rows of real files read whole need not be made again, and the document that they stand in.

A command that was stopped goes on with the newest document, past midnight too: yesterday's is taken up if it
lacks a row that is wanted. A row counts if it is of the same files and of as many of their tokens, and if
every question had an answer. Rows are read again before each write: another command may have added some.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from memalpha.tasks.data.readers.files import DatasetError
from memalpha_evals import pages
from memalpha_evals.bench import whole

Rows = list[dict[str, Any]]


def begun(today: date, names: Sequence[str], data: Path, most_tokens: int) -> str:
    """The day of the document to go on with: today's, or yesterday's if that is not finished."""
    yesterday = (today - timedelta(days=1)).isoformat()
    if not rows(today.isoformat()) and (found := rows(yesterday)):
        kept = {row["suite"] for row in found if fits(row, data, most_tokens)}
        if kept and not kept >= set(names):
            return yesterday
    return today.isoformat()


def document(day: str) -> Path:
    """A day's document, below `docs`."""
    return Path("evals") / f"{day}-whole.json"


def rows(day: str) -> Rows:
    """What a day's document has so far."""
    path = pages.DOCS / document(day)
    return json.loads(path.read_bytes())["suites"] if path.exists() else []


def fits(row: dict[str, Any], data: Path, most_tokens: int) -> bool:
    """Whether a row is what its suite would give again."""
    if row.get("error") or row["failed"]:
        return False
    try:
        now = whole.of_files(row["suite"], data)
    except DatasetError:
        return False
    if any(row[key] != value for key, value in now.items()):
        return False
    read_whole = row["conversations_read"] == row["conversations"]
    return row.get("most_tokens") == most_tokens or (read_whole and row["tokens"] <= most_tokens)


def joined(kept: Iterable[dict[str, Any]], made: Iterable[dict[str, Any]]) -> Rows:
    """Rows of a document with those just made in the place of the same suites'."""
    return list({row["suite"]: row for row in (*kept, *made)}.values())
