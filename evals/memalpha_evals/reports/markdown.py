"""A report as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from memalpha_evals.pages import Titled
from memalpha_evals.reports.content import Content, Section


def markdown(content: Content) -> str:
    """The whole page."""
    return "\n\n".join(_parts(content)) + "\n"


def _parts(content: Content) -> Iterator[str]:
    yield f"# {_line(content.title)}"
    yield _line(content.about)
    if content.warnings:
        yield "\n".join(f"> {_line(each)}\n>" for each in content.warnings).removesuffix("\n>")
    yield _list([f"{name}: {value}" for name, value in content.settings])
    for section in content.sections:
        yield from _section(section)
    if content.failures:
        yield "## What failed\n\n" + _list(content.failures)
    yield "`report.html` has the same with drawings and single answers."


def _section(section: Section) -> Iterator[str]:
    yield f"## {section.group.title}"
    scores, *others = section.tables
    yield _table(scores)
    if section.verdicts:
        yield _list(section.verdicts)
    for table in others:
        yield _table(table)
    if section.quotes:
        yield "### To quote\n\n" + _list(section.quotes)
    yield "### How to read it\n\n" + _list(section.reading)


def _table(table: Titled) -> str:
    title, header, rows = table
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    written = (f"| {' | '.join(map(_cell, line))} |" for line in lines)
    return f"### {_line(title)}\n\n" + "\n".join(written)


def _list(lines: Sequence[str]) -> str:
    return "\n".join(f"- {_line(each)}" for each in lines)


def _cell(text: str) -> str:
    return _line(text).replace("|", "\\|")


def _line(text: str) -> str:
    """On one line: what comes from data may hold anything."""
    return " ".join(text.split())
