"""A report as one HTML file that opens from disk, loads nothing and stays within a size.

What models and data say is text in it and nothing else: it is escaped where it is put in, and the page's
policy lets only its own script run.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path

from memalpha.cli.style import plural
from memalpha_evals.compare.measured import HEADLINE, value
from memalpha_evals.pages import Titled
from memalpha_evals.reports import drawing
from memalpha_evals.reports.content import Content, Section
from memalpha_evals.reports.markup import Html, join, tag
from memalpha_evals.reports.samples import drawn
from memalpha_evals.rows import Row

MOST_ROWS = 400
MOST_BYTES = 4 << 20
"""About the size of the page: single answers are left out beyond it."""

_HERE = Path(__file__).parent


def page(content: Content, *, most_rows: int = MOST_ROWS, most_bytes: int = MOST_BYTES) -> str:
    """The whole page."""
    style, script = (Html((_HERE / name).read_text("utf-8")) for name in ("page.css", "page.js"))
    policy = (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)};"
        " base-uri 'none'; form-action 'none'"
    )
    head = [
        Html('<meta charset="utf-8">'),
        Html(f'<meta http-equiv="Content-Security-Policy" content="{policy}">'),
        Html('<meta name="viewport" content="width=device-width">'),
        tag("title", content.title),
        tag("style", style),
    ]
    sections = [part for section in content.sections for part in _section(section)]
    answers = _answers(content.rows, most_rows, most_bytes - sum(map(len, sections)))
    body = tag("body", *_top(content), *sections, *_failures(content), *answers, tag("script", script))
    return f'<!doctype html>\n<html lang="en">{tag("head", *head)}{body}</html>\n'


def _top(content: Content) -> Iterator[Html]:
    yield tag("h1", content.title)
    yield tag("p", content.about)
    if content.warnings:
        yield tag("ul", *(tag("li", each) for each in content.warnings), cls="warnings")
    rows = (tag("tr", tag("th", name), tag("td", value)) for name, value in content.settings)
    yield tag("table", *rows, cls="settings")


def _section(section: Section) -> Iterator[Html]:
    yield tag("h2", section.group.title)
    scores, *others = section.tables
    yield _table(scores)
    yield tag("ul", *map(_item, section.verdicts))
    how = tag("ul", *map(_item, section.reading))
    yield tag("details", tag("summary", "How to read these numbers"), how)
    if section.quotes:
        listed = tag("ul", *map(_item, section.quotes))
        yield tag("details", tag("summary", "Sentences to quote"), listed)
    yield tag("h3", "Scores in percent; the thin lines are 95 % intervals")
    figures = [_figure(name, drawing.bars(bars)) for name, bars in section.bars.items()]
    yield tag("div", *figures, cls="figures")
    yield tag("h3", "Scores by the tokens that they take, for each question")
    yield tag("div", *_scatters(section), cls="figures")
    for table in others:
        yield _table(table)


def _item(sentence: str) -> Html:
    """A sentence of a list; names of columns stand between backticks."""
    parts = enumerate(sentence.split("`"))
    return tag("li", *(tag("code", part) if place % 2 else part for place, part in parts))


def _scatters(section: Section) -> Iterator[Html]:
    for tokens, about in (
        ("context", "tokens that the reader was given for a question"),
        ("stored", "tokens that the system held"),
    ):
        yield _figure(f"Score over {tokens} tokens", drawing.scatter(section.points, tokens, about))


def _figure(title: str, drawn_: Html) -> Html:
    return tag("figure", tag("figcaption", title), drawn_)


def _table(table: Titled) -> Html:
    title, header, rows = table
    head = tag("tr", *(tag("th", each) for each in header))
    lines = (tag("tr", tag("th", first), *(tag("td", each) for each in rest)) for first, *rest in rows)
    grid = tag("table", tag("thead", head), tag("tbody", *lines))
    return join([tag("h3", title), tag("div", grid, cls="wide")])


def _failures(content: Content) -> Iterator[Html]:
    if content.failures:
        yield tag("h2", "What failed")
        yield tag("ul", *(tag("li", each) for each in content.failures))


def _answers(rows: Sequence[Row], most: int, room: int) -> Iterator[Html]:
    """Single answers, as many as there is room for."""
    articles, shown = list[Html](), 0
    for asked in drawn(rows, most):
        article = _asked(asked)
        room -= len(article.encode())
        if room < 0:
            break
        articles.append(article)
        shown += len(asked)
    yield tag("h2", "Single answers")
    yield tag("p", f"{shown:,} of {plural(len(rows), 'row')}, drawn evenly over categories.", cls="dim")
    yield tag("p", *_filters(rows), cls="filters")
    yield from articles


def _filters(rows: Sequence[Row]) -> Iterator[Html]:
    for name, values in (
        ("system", [row.system for row in rows]),
        ("category", [row.category for row in rows]),
        ("outcome", ["right", "partly", "wrong", "failed"]),
    ):
        options = (tag("option", each, value=each) for each in dict.fromkeys(values) if each)
        yield tag("label", f"{name} ", tag("select", tag("option", "all"), *options, data_filter=name))


def _asked(rows: Sequence[Row]) -> Html:
    first = rows[0]
    right = "(cannot be answered)" if first.unanswerable else " | ".join(first.answers)
    head = tag("p", tag("b", first.question), f" {first.conversation} {first.question_id}", cls="question")
    options = tag("ol", *(tag("li", each) for each in first.options), type="a") if first.options else Html()
    answers = map(_answer, rows)
    return tag(
        "article", head, options, tag("p", f"Right: {right}"), *answers, data_category=first.category or "–"
    )


def _answer(row: Row) -> Html:
    scores = ", ".join(f"{name} {value:.2f}" for name, value in row.scores.items())
    said = f"failed: {row.failure}" if row.failure else row.answer or "(said nothing)"
    context = tag(
        "details", tag("summary", f"context, {row.context_tokens:,} tokens"), tag("pre", row.context)
    )
    what = join(
        [tag("b", row.system), ": ", tag("span", said, cls="said"), " ", tag("span", scores, cls="dim")]
    )
    return tag(
        "div", tag("p", what), context, cls="answer", data_system=row.system, data_outcome=_outcome(row)
    )


def _outcome(row: Row) -> str:
    if row.failure:
        return "failed"
    score = value(row, HEADLINE) or 0.0
    return "right" if score == 1 else "partly" if score else "wrong"


def _hash(content: str) -> str:
    return f"'sha256-{b64encode(sha256(content.encode()).digest()).decode()}'"
