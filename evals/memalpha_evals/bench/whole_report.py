"""Real files whole, as tables, as a document, and in `docs/real-files.md`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from memalpha_evals import pages
from memalpha_evals.bench.whole import POLICY, READER
from memalpha_evals.pages import Page, Titled
from memalpha_evals.suites import SUITES

_HEADER = [
    *("suite", "files", "conversations", "chunks", "tokens", "questions"),
    *("s to load", "s to read, answer", "s of CPU", "peak MB", "failed"),
]
_MANY = 3
"""More files are named by the first and the last."""


def rows(day: str) -> list[dict[str, Any]]:
    """What a day's document has so far."""
    path = pages.DOCS / _document(day)
    return json.loads(path.read_bytes())["suites"] if path.exists() else []


def document(day: str, suites: Sequence[dict[str, Any]], unseen: Sequence[str]) -> dict[str, Any]:
    """All numbers, in the order of `SUITES`."""
    ordered = sorted(suites, key=lambda row: list(SUITES).index(row["suite"]))
    return {"date": day, "policy": POLICY, "reader": READER, "suites": ordered, "unseen": list(unseen)}


def tables(content: dict[str, Any]) -> list[Titled]:
    """A line for each suite, and one for each form of which no file was there."""
    lines = [[row["suite"], _files(row["files"]), *_numbers(row)] for row in content["suites"]]
    unseen = [[folder, files] for folder, _, files in (each.partition(" ") for each in content["unseen"])]
    return [
        ("Read", _HEADER, lines),
        ("Forms that no real file was there of", ["folder", "files"], unseen),
    ]


def write_docs(content: dict[str, Any]) -> Path:
    """Writes document and page; where the document is.

    Raises:
        InvalidInputError: `NO_MARKER`.
    """
    page = Page(
        "real-files.md",
        "<!-- bench whole:begin, written by evals bench whole --write-docs -->",
        "<!-- bench whole:end -->",
        _document(content["date"]),
    )
    cores = sorted({row["cores"] for row in content["suites"]})
    loads = [row["load"] for row in content["suites"]]
    machine = f"{' or '.join(map(str, cores))} cores, load {min(loads)} to {max(loads)}"
    return pages.write(page, content, f"{content['date']}, {machine}", tables(content))


def _document(day: str) -> Path:
    return Path("evals") / f"{day}-whole.json"


def _files(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= _MANY else f"{names[0]} to {names[-1]}, {len(names)} files"


def _numbers(row: dict[str, Any]) -> list[str]:
    return [
        _of(row["conversations_read"], row["conversations"]),
        f"{row['chunks']:,}",
        f"{row['tokens']:,}",
        _of(row["questions_asked"], row["questions"]),
        f"{row['seconds_loading']:.1f}",
        f"{row['seconds']:.1f}",
        f"{row['cpu_seconds']:.1f}",
        f"{row['peak_mb']:,.0f}",
        str(row["failed"]),
    ]


def _of(read: int, there: int) -> str:
    return f"{read:,}" if read == there else f"{read:,} of {there:,}"
