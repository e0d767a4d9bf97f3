"""Real files whole, as tables, as a document, and in `docs/real-files.md`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from memalpha_evals import pages
from memalpha_evals.bench import whole_kept
from memalpha_evals.bench.whole import POLICY, READER
from memalpha_evals.pages import Page, Titled
from memalpha_evals.suites import SUITES

_HEADER = [
    *("suite", "files", "of the published set", "conversations", "chunks", "tokens", "questions"),
    *("s to load", "s to read, answer", "s of CPU", "peak MB", "failed"),
]
_MANY = 3
"""More files are named by the first and the last."""
_PUBLISHED = {
    "locomo": (10, "conversations"),
    "locomo-audited": (10, "conversations"),
    "beam": (20, "chats"),
    "personamem": (37, "contexts"),
    "longmemeval": (500, "instances"),
    "hotpotqa-10k": (7405, "questions"),
    "2wiki-10k": (12576, "questions"),
    "musique-10k": (2417, "questions"),
    "nq-10k": (2655, "questions"),
}
"""Of sets whose conversations are their own: how many are published, and what they are called there."""
_PARTS = {
    ".dev.": "A name with `.dev` is of a part: rows of the published file are held out of it.",
    ".sample.": "A name with `.sample` is of a part: a sample of the published split.",
}


def document(day: str, suites: Sequence[dict[str, Any]], unseen: Sequence[str]) -> dict[str, Any]:
    """All numbers, in the order of `SUITES`; those of a length of one's own behind them."""
    places = {name: place for place, name in enumerate(SUITES)}
    ordered = sorted(suites, key=lambda row: places.get(row["suite"], len(places)))
    return {"date": day, "policy": POLICY, "reader": READER, "suites": ordered, "unseen": list(unseen)}


def tables(content: dict[str, Any]) -> list[Titled]:
    """A line for each suite, one for each that could not be read, and for each form without a file."""
    read = [row for row in content["suites"] if "error" not in row]
    lines = [[row["suite"], _files(row["files"]), _published(row), *_numbers(row)] for row in read]
    wrong = [[row["suite"], row["error"]] for row in content["suites"] if "error" in row]
    unseen = [[folder, files] for folder, _, files in (each.partition(" ") for each in content["unseen"])]
    return [
        ("Read", _HEADER, lines),
        *([("Not read", ["suite", "why"], wrong)] if wrong else []),
        ("Forms that no real file was there of", ["folder", "files"], unseen),
    ]


def require_page() -> None:
    """Refuses a page that could not be written in.

    Raises:
        InvalidInputError: As `pages.require`.
    """
    pages.require(_page(""))


def write_docs(content: dict[str, Any]) -> Path:
    """Writes document and page; where the document is.

    Raises:
        InvalidInputError: As `pages.require`.
    """
    cores = sorted({row["cores"] for row in content["suites"]})
    loads = [row["load"] for row in content["suites"]]
    machine = f"{' or '.join(map(str, cores))} cores, load {min(loads)} to {max(loads)}"
    head = f"{content['date']}, {machine}"
    return pages.write(_page(content["date"]), content, head, tables(content), list(_notes(content)))


def _page(day: str) -> Page:
    return Page(
        "real-files.md",
        "<!-- bench whole:begin, written by evals bench whole --write-docs -->",
        "<!-- bench whole:end -->",
        whole_kept.document(day),
    )


def _notes(content: dict[str, Any]) -> Iterator[str]:
    """What the names of the files tell of them."""
    names = [name for row in content["suites"] for name in row.get("files", ())]
    for mark, said in _PARTS.items():
        if any(mark in name for name in names):
            yield f"{said} It is not to be had under that name."


def _files(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= _MANY else f"{names[0]} to {names[-1]}, {len(names)} files"


def _published(row: dict[str, Any]) -> str:
    if row["suite"] not in _PUBLISHED:
        return ""
    count, what = _PUBLISHED[row["suite"]]
    return f"{row['conversations']:,} of {count:,} {what}"


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
