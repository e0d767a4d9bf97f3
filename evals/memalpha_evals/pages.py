"""Tables of a run, on the screen and in a page of documentation between two marker lines."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from memalpha.errors import InvalidInputError, make
from memalpha.files import replace

DOCS = Path(__file__).parents[2] / "docs"


# A table: its title, its header, and rows whose first cell is their name.
Titled: TypeAlias = tuple[str, list[str], list[list[str]]]


class Page(NamedTuple):
    """A part of a file of `docs`, between its markers, and the document that it shows."""

    name: str
    begin: str
    end: str
    # Below `docs`.
    document: Path


def show(tables: Sequence[Titled], out: Console) -> None:
    """Prints tables; `out` should neither wrap nor mark up."""
    for title, header, rows in tables:
        table = Table(
            box=SIMPLE_HEAD, padding=(0, 2, 0, 0), pad_edge=False, title=title, title_justify="left"
        )
        for name in header:
            table.add_column(name, justify="left" if name == header[0] else "right", no_wrap=True)
        for row in rows:
            table.add_row(*row)
        out.print(table)


def around(share: float, bounds: Sequence[float], number: Callable[[float], str]) -> str:
    """An interval of a share in words; of none or all only the end that it bounds."""
    low, high = map(number, bounds)
    if share in (0, 1):
        return f"at least {low}" if share else f"at most {high}"
    return f"{low} to {high}"


def require(page: Page) -> None:
    """Refuses a page without its markers, before hours are spent on what it is to hold.

    Raises:
        InvalidInputError: `NO_MARKER`, or `NO_PAGE`.
    """
    file = DOCS / page.name
    if not file.is_file():
        raise make(InvalidInputError, "NO_PAGE", f"there is no page {page.name} to write in", page=page.name)
    text = file.read_text(encoding="utf-8")
    for marker in (page.begin, page.end):
        if marker not in text:
            message = f"{page.name} must hold the line {marker}"
            raise make(InvalidInputError, "NO_MARKER", message, page=page.name, marker=marker)


def write(
    page: Page, content: dict[str, Any], head: str, tables: Sequence[Titled], notes: Sequence[str] = ()
) -> Path:
    """Writes the document, and `head`, tables and notes between the page's markers; where the document is.

    Each is the old one or the new one, whenever the process ends.

    Raises:
        InvalidInputError: As `require`; nothing is written.
    """
    require(page)
    file, path = DOCS / page.name, DOCS / page.document
    path.parent.mkdir(exist_ok=True)
    replace(path, [json.dumps(content, indent=1, ensure_ascii=False) + "\n"])
    text = file.read_text(encoding="utf-8")
    before, _, rest = text.partition(page.begin)
    _, _, after = rest.partition(page.end)
    listed = ["\n".join(f"- {note}" for note in notes)] if notes else []
    body = "\n\n".join([f"{head} ([all numbers]({page.document})).", *map(markdown, tables), *listed])
    replace(file, [f"{before}{page.begin}\n\n{body}\n\n{page.end}{after}"])
    return path


def markdown(table: Titled, rule: str = "---") -> str:
    """A table below its title; `rule` aligns all columns but the first."""
    title, header, rows = table
    return f"### {on_line(title)}\n\n{grid([header, ['---', *[rule] * (len(header) - 1)], *rows])}"


def grid(lines: Sequence[Sequence[str]]) -> str:
    """The lines of a Markdown table, header, rule and rows, whose cells may hold anything."""
    written = (" | ".join(on_line(cell).replace("|", "\\|") for cell in line) for line in lines)
    return "\n".join(f"| {line} |" for line in written)


def on_line(text: str) -> str:
    """On one line: what comes from data may hold anything."""
    return " ".join(text.split())
