"""A report as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from memalpha_evals import pages
from memalpha_evals.pages import on_line
from memalpha_evals.reports.content import Content, Section

_RIGHT = "---:"


def markdown(content: Content) -> str:
    """The whole page."""
    return "\n\n".join(_parts(content)) + "\n"


def _parts(content: Content) -> Iterator[str]:
    yield f"# {on_line(content.title)}"
    yield on_line(content.about)
    if content.warnings:
        yield "\n".join(f"> {on_line(each)}\n>" for each in content.warnings).removesuffix("\n>")
    yield _list([f"{name}: {value}" for name, value in content.settings])
    for section in content.sections:
        yield from _section(section)
    if content.failures:
        yield "## What failed\n\n" + _list(content.failures)
    yield "`report.html` has the same with drawings and single answers."


def _section(section: Section) -> Iterator[str]:
    yield f"## {section.group.title}"
    scores, *others = section.tables
    yield pages.markdown(scores, _RIGHT)
    if section.verdicts:
        yield _list(section.verdicts)
    for table in others:
        yield pages.markdown(table, _RIGHT)
    if section.quotes:
        yield "### To quote\n\n" + _list(section.quotes)
    yield "### How to read it\n\n" + _list(section.reading)


def _list(lines: Sequence[str]) -> str:
    return "\n".join(f"- {on_line(each)}" for each in lines)
