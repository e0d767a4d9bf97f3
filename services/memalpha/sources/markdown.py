"""Markdown: every turn is a piece of one section and carries the headings above it as its first line.

A passage cut out of a document means little without them. `date` and `title` of a front matter are used; a
heading that is an ISO date, as in a journal, dates its section.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from markdown_it import MarkdownIt

from memalpha.agent.chunking import Turn
from memalpha.sources.files import Document
from memalpha.sources.times import event_time

PIECE_CHARACTERS = 2000
"""Blocks of a section are gathered up to this size, so that a piece fits into a chunk with its headings."""

_FRONT_MATTER = re.compile(r"---\n(.*?)\n(?:---|\.\.\.)(?:\n|$)", re.DOTALL)
_FIELD = re.compile(r"^(title|date|created):[ \t]*(.+?)[ \t]*$", re.MULTILINE)


@dataclass(slots=True)
class _Section:
    level: int
    title: str
    blocks: list[str] = field(default_factory=list)


def turns(document: Document, speaker: str = "") -> list[Turn]:
    """Splits Markdown into pieces of sections.

    Args:
        document: the text.
        speaker: who says it, if anybody does.
    """
    body, title, time = _front_matter(document.text)
    path = [_Section(0, title)]
    result: list[Turn] = []
    sections = list(_sections(body))
    for section, following in zip(sections, [*sections[1:], None], strict=True):
        path = [above for above in path if above.level < section.level or above.level == 0]
        path += [section] if section.level else []
        is_parent = following is not None and following.level > section.level
        headings = [above.title for above in path if above.title]
        dated = next((date for above in reversed(headings) if (date := _date(above))), time)
        for piece in _pieces(section.blocks, with_bare_heading=bool(section.level) and not is_parent):
            text = "\n".join(filter(None, [f"# {' > '.join(headings)}" if headings else "", piece]))
            result.append(Turn(text=text, speaker=speaker, event_time=dated, source=document.name))
    return result


def _front_matter(text: str) -> tuple[str, str, str]:
    match = _FRONT_MATTER.match(text)
    if match is None:
        return text, "", ""
    fields = {key: value.strip("\"'") for key, value in _FIELD.findall(match[1])}
    time = _date(fields.get("date", fields.get("created", "")))
    return text[match.end() :], fields.get("title", ""), time


def _date(text: str) -> str:
    try:
        return event_time(text)
    except ValueError:
        return ""


def _sections(text: str) -> Iterator[_Section]:
    lines = text.split("\n")
    tokens = MarkdownIt("commonmark").parse(text)
    section = _Section(0, "")
    for index, token in enumerate(tokens):
        if token.level or token.map is None or token.type == "hr":
            continue
        if token.type == "heading_open":
            yield section
            section = _Section(int(token.tag[1:]), " ".join(tokens[index + 1].content.split()))
        else:
            section.blocks.append("\n".join(lines[token.map[0] : token.map[1]]).strip("\n"))
    yield section


def _pieces(blocks: list[str], *, with_bare_heading: bool) -> Iterator[str]:
    if not blocks and with_bare_heading:
        yield ""
    piece: list[str] = []
    size = 0
    for block in blocks:
        if piece and size + len(block) > PIECE_CHARACTERS:
            yield "\n\n".join(piece)
            piece, size = [], 0
        piece.append(block)
        size += len(block)
    if piece:
        yield "\n\n".join(piece)
