"""Commands on finished runs: compare, rescore, report, canary and export."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console

from memalpha.cli.style import plural
from memalpha.errors import InvalidInputError, NotFoundError, make
from memalpha_evals import export, pages, reports, runs
from memalpha_evals.commands.options import words
from memalpha_evals.compare import discordant, seeds, tables
from memalpha_evals.compare.comparable import other_judges, require_comparable, unlike
from memalpha_evals.compare.measured import HEADLINE, require_score
from memalpha_evals.compare.paired import Comparison, compare
from memalpha_evals.compare.sides import (
    Group,
    Side,
    all_opened,
    by_group,
    caveats,
    matched,
    require_baseline,
    sides,
)
from memalpha_evals.rescore import ALL, rescore
from memalpha_evals.rows import Row
from memalpha_evals.runs import lines
from memalpha_evals.scorers import canaries

FOUND = 1
"""Exit code of a check that found something."""
_WIDEST = 240

RunFolder = Annotated[Path, typer.Argument(help="The run's folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    for name, command in (
        ("compare", compare_runs),
        ("rescore", rescore_run),
        ("report", report_run),
        ("canary", canary),
        ("export", export_run),
    ):
        app.command(name)(command)


def compare_runs(
    run: Annotated[list[Path], typer.Argument(help="Folders: one, to compare its systems, or several.")],
    names: Annotated[
        list[str] | None,
        typer.Option(
            "--systems", "--system", help="Only these systems, between commas, or repeat.", show_default=False
        ),
    ] = None,
    baseline: Annotated[
        str, typer.Option(help="What all others are compared with: RUN/SYSTEM or SYSTEM.")
    ] = "",
    score: Annotated[str, typer.Option(help="A score such as strict.f1; else each row's own.")] = HEADLINE,
    anyway: Annotated[bool, typer.Option("--anyway", help="Compare what is not alike, and say so.")] = False,
    as_seeds: Annotated[
        bool, typer.Option("--seeds", help="The runs differ in their seeds only: take them together.")
    ] = False,
    pairs: Annotated[Path | None, typer.Option(help="CSV file of answers that differ, to be read.")] = None,
    as_json: AsJson = False,
) -> None:
    """Paired differences with intervals, overall and by category; what is not comparable is refused.

    Systems of one run are compared with its first one; several runs system by system with the first run.
    Example: evals compare runs/a runs/b --pairs differ.csv
    """
    compared = sides(all_opened(run), list(words(names or [])))
    require_score([row for side in compared for row in side.rows.values()], score)
    more = other_judges(compared, score) + (seeds.unlike(compared) if as_seeds else [])
    if not anyway:
        require_comparable(compared, more)
    differs, seeds_table = [*unlike(compared), *more], seeds.table(compared, score) if as_seeds else None
    members = seeds.together(compared) if as_seeds else compared
    require_baseline(members, baseline)
    groups = by_group(members)
    found = [one for each in groups.values() for one in compare(matched(each, baseline), score)]
    if pairs:
        count = discordant.write(pairs, found, score)
        print(f"{plural(count, 'pair')} of answers: {pairs}", file=sys.stderr)
    if as_json:
        print(json.dumps(tables.document(found, score, differs, caveats(members)), ensure_ascii=False))
        return
    _show(groups, found, score, differs)
    if seeds_table:
        pages.show([seeds_table], _plain())


def _show(groups: dict[Group, list[Side]], found: list[Comparison], score: str, differs: list[str]) -> None:
    out = _plain()
    for sentence in differs:
        out.print(f"NOT ALIKE: {sentence}")
    for sentence in caveats([side for members in groups.values() for side in members]):
        out.print(f"note: {sentence}")
    for group, members in groups.items():
        out.print(group.title)
        pages.show([tables.sides_table(group, members, score), tables.categories_table(members, score)], out)
        if len(members) == 1:
            out.print(f"{members[0].name} stands alone: no other side knows as much and has a like reader.")
    pages.show(tables.difference_tables(found), out)
    for sentence in tables.sentences(found, score):
        out.print(sentence)


def rescore_run(
    run: RunFolder,
    scorer: Annotated[str, typer.Option(help="strict, paper, all, or MODULE:FUNCTION.")] = ALL,
) -> None:
    """Makes scores again from the rows, without a model, and writes the reports again.

    Example: evals rescore runs/a --scorer strict
    """
    done = rescore(run, scorer)
    print(f"{plural(done.rows, 'row')} scored, {done.changed:,} changed; {reports.write(run)}")


def report_run(run: RunFolder) -> None:
    """Writes report.md and report.html again; also of a run that is not finished."""
    print(reports.write(run))


def canary(
    rows: Annotated[
        Path | None, typer.Argument(help="A run's folder or a file of rows; examples unless given.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Answers that know nothing, under all scorers; exit code 1 if one gets more than its cap."""
    found = canaries.check(_rows(rows) if rows else canaries.examples())
    beaten = [each for each in found if each.beaten]
    if as_json:
        print(json.dumps([_finding(each) for each in found], ensure_ascii=False))
    else:
        pages.show([_canary_table(found)], _plain())
        print(f"{plural(len(found), 'check')}, {len(beaten)} beaten")
    if beaten:
        raise typer.Exit(FOUND)


def _rows(path: Path) -> list[Row]:
    if path.is_dir():
        return runs.read(path).rows
    if not path.exists():
        raise make(NotFoundError, "NO_FILE", f"there is no file or folder {path}", path=path)
    found = [row for _, row in lines.rows(path)]
    if not found:
        raise make(InvalidInputError, "NO_ROWS", f"{path} must be a file of rows, but has none", path=path)
    return found


def _canary_table(found: list[canaries.Finding]) -> pages.Titled:
    header = ["canary", "scorer", "rows", "gets", "may get", "", "known fault"]
    return "Canaries", header, [_canary_line(each) for each in found]


def _canary_line(each: canaries.Finding) -> list[str]:
    shares = (f"{100 * share:.1f}" for share in (each.share, each.cap))
    marks = ("BEATEN" if each.beaten else "", each.fault if each.share else "")
    return [each.canary, each.scorer, str(each.rows), *shares, *marks]


def _finding(each: canaries.Finding) -> dict[str, Any]:
    return {name: getattr(each, name) for name in (*each.__slots__, "beaten")}


def export_run(
    run: RunFolder,
    format: Annotated[
        Literal["inspect", "parquet"],
        typer.Option(
            help="inspect: a log for each system, for its viewer (extra `inspect`); or one parquet file."
        ),
    ],
    out: Annotated[Path | None, typer.Option(help="Folder or file; beside the rows unless given.")] = None,
) -> None:
    """Writes a run in another tool's format.

    Example: evals export runs/a --format inspect; then inspect view --log-dir runs/a/inspect
    """
    found = runs.read(run)
    if format == "parquet":
        print(export.to_parquet(found, out or run / "rows.parquet"))
        return
    for path in export.to_inspect(found, out or run / "inspect"):
        print(path)


def _plain() -> Console:
    return Console(highlight=False, markup=False, emoji=False, soft_wrap=True, width=_WIDEST)
