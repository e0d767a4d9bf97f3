"""What a report says, as tables, sentences and numbers to draw: Markdown and HTML only write it down.

Systems stand in one table only if they know as much and have a like reader (`Group`). Each group is compared
with its own first system. Failed rows are in every mean, as 0, and are counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from memalpha.cli.style import plural
from memalpha.tasks.stats import FEWEST_CLUSTERS, Interval
from memalpha_evals.compare import tables
from memalpha_evals.compare.facts import Facts
from memalpha_evals.compare.measured import measured, parts, spending
from memalpha_evals.compare.paired import Comparison, compare
from memalpha_evals.compare.sides import Group, Run, Side, all_sides, by_group, matched
from memalpha_evals.pages import Titled
from memalpha_evals.rows import Row
from memalpha_evals.scorers.paper import paper

_MOST_FAILURES = 10
"""Different failures that are quoted."""


@dataclass(frozen=True, slots=True)
class Bar:
    """A system's score on one line of the report."""

    system: str
    value: float
    interval: Interval | None


@dataclass(frozen=True, slots=True)
class Point:
    """A system's score over what its reader was given and what it stored, in tokens for each question."""

    system: str
    score: float
    context: float
    stored: float
    built: float


@dataclass(frozen=True, slots=True)
class Section:
    """A group of systems.

    Attributes:
        bars: By line of the report: overall, then categories.
        verdicts: What the first lines of the comparisons say.
        quotes: The same to be published.
        reading: How to read the tables.
    """

    group: Group
    tables: tuple[Titled, ...]
    verdicts: tuple[str, ...]
    quotes: tuple[str, ...]
    reading: tuple[str, ...]
    bars: dict[str, tuple[Bar, ...]]
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Content:
    """A report. `about` says what a run is; `rows` are all its rows; `warnings` come before any number."""

    title: str
    about: str
    settings: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]
    sections: tuple[Section, ...]
    failures: tuple[str, ...]
    rows: tuple[Row, ...]


def content(run: Run) -> Content:
    """The report of a run.

    Raises:
        NotFoundError: NO_ROWS.
    """
    sides = all_sides([run])
    return Content(
        title=f"Run {run.name}",
        about=_about(run.facts, sides),
        settings=(*_settings(run.facts, sides), *_judges(run.facts, run.rows)),
        warnings=tuple(_warnings(run.facts, run.rows)),
        sections=tuple(_section(group, members) for group, members in by_group(sides).items()),
        failures=tuple(_failures(run.rows)),
        rows=tuple(run.rows),
    )


def _about(facts: Facts, sides: Sequence[Side]) -> str:
    questions = plural(max(len(side.rows) for side in sides), "question")
    room = f"at most {facts.budget:,} tokens" if facts.budget else "an unknown number of tokens"
    return (
        f"{plural(len(sides), 'system')} read the conversations of {facts.dataset or 'a data set'}; one "
        f"reader answered the same {questions} from {room} of what each system showed it of them."
    )


def _settings(facts: Facts, sides: Sequence[Side]) -> Iterator[tuple[str, str]]:
    licence = f", {facts.licence}" if facts.licence else ""
    yield "Data", f"{facts.dataset}{licence}, sha256 {facts.sha256[:16] or 'unknown'}…"
    if source := paper(facts.dataset).source:
        yield "Paper's scorers", source
    yield "Reader", f"{facts.reader}: {facts.reader_about}" if facts.reader_about else facts.reader
    yield "Budget", f"{facts.budget:,} tokens of context" if facts.budget else "unknown"
    yield "Chunks", f"of at most {facts.chunk_tokens:,} tokens" if facts.chunk_tokens else "unknown"
    for side in sides:
        system = facts.system(side.system)
        yield f"System {system.name}", system.about or "unknown"


def _judges(facts: Facts, rows: Sequence[Row]) -> Iterator[tuple[str, str]]:
    """Who gave the scores that a model gave."""
    for name in sorted({name for row in rows for name in row.scores if name.startswith("judge.")}):
        identity = facts.judges.get(name, {})
        model, prompt = identity.get("model", {}), identity.get("prompt_sha256", "unknown")
        yield (
            f"Score {name}",
            f"a model judges: {model.get('id') or 'unknown'} by engine {model.get('engine') or 'unknown'}, "
            f"{plural(identity.get('votes', 1), 'vote')}, prompt sha256 {prompt[:16]}…",
        )


def _warnings(facts: Facts, rows: Sequence[Row]) -> Iterator[str]:
    yield from facts.notes
    if not facts.done:
        yield "The run is not finished: rows are missing, and not at random."
    clusters = len({row.cluster for row in rows})
    if clusters < FEWEST_CLUSTERS:
        yield f"There are {plural(clusters, 'cluster')}. {tables.NO_CLAIM}"


def _section(group: Group, sides: Sequence[Side]) -> Section:
    comparisons = compare(matched(sides))
    shown = [tables.sides_table(group, sides), tables.categories_table(sides), _scorers(sides)]
    return Section(
        group,
        tables=(*shown, _first_lines(comparisons))
        if any(each.lines for each in comparisons)
        else tuple(shown),
        verdicts=tuple(tables.verdicts(comparisons)),
        quotes=tuple(tables.quotes(comparisons)),
        reading=tuple(tables.reading(comparisons)),
        bars=_bars(sides),
        points=tuple(point for side in sides if (point := _point(group, side))),
    )


def _first_lines(comparisons: Sequence[Comparison]) -> Titled:
    """First lines of all comparisons with one baseline, in one table."""
    lined = [each for each in comparisons if each.lines]
    found = tables.difference_tables(lined)
    main = lined[0].lines[0].name
    rows = [[each.side.name, *lines[0][1:]] for each, (_, _, lines) in zip(lined, found, strict=True)]
    return f"Minus {lined[0].baseline.name}, {main}", ["system", *found[0][1][1:]], rows


def _scorers(sides: Sequence[Side]) -> Titled:
    """Every score that any row has, strict and paper's side by side."""
    names = dict.fromkeys(name for side in sides for row in side.rows.values() for name in row.scores)
    rows = []
    for name in sorted(names, key=lambda name: (not name.startswith("strict."), name)):
        found = [[row.scores[name] for row in side.rows.values() if name in row.scores] for side in sides]
        shares = (tables.percent(fmean(each) if each else None) for each in found)
        rows.append([name, f"{max(map(len, found)):,}", *shares])
    return "By scorer, over the rows that have it", ["scorer", "rows", *(side.name for side in sides)], rows


def _bars(sides: Sequence[Side]) -> dict[str, tuple[Bar, ...]]:
    lines = parts([row for side in sides for row in side.rows.values()], sides[0].facts.apart)
    found = {}
    for name, within in lines.items():
        bars = []
        for side in sides:
            if one := measured([row for row in side.rows.values() if within(row)]):
                bars.append(Bar(side.name, one.score.value, one.score.interval))
        found[name] = tuple(bars)
    return found


def _point(group: Group, side: Side) -> Point | None:
    """By the score of the first line, as everywhere."""
    rows = list(side.rows.values())
    within = next(iter(parts(rows, side.facts.apart).values()))
    found = measured([row for row in rows if within(row)])
    if found is None:
        return None
    spent = spending(rows, query_aware=group.query_aware)
    return Point(side.name, found.score.value, spent.context, spent.stored, spent.built)


def _failures(rows: Sequence[Row]) -> Iterator[str]:
    counts = Counter((row.system, row.failure) for row in rows if row.failure)
    for (system, failure), count in counts.most_common(_MOST_FAILURES):
        yield f"{system}: {plural(count, 'row')}: {failure}"
    if len(counts) > _MOST_FAILURES:
        yield f"and {len(counts) - _MOST_FAILURES} other failures"
