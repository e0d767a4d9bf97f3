"""`data`: training data from public data sets: build, look at, count, convert, and check for leaks."""

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from memalpha.cli.documents import print_document, print_line
from memalpha.cli.shell import FAILED, Session, UsageError
from memalpha.cli.style import Screen, indented, one_line, visible
from memalpha.tasks.data import SOURCES, build, files, sources
from memalpha.tasks.data.leakage import Leak, Test
from memalpha.tasks.data.splits import Split
from memalpha.tasks.data.summary import Summary, summarize
from memalpha.tasks.instance import Instance

SHOWN_QUESTIONS = 10
SHOWN_LEAKS = 20
WIDEST = 132
"""Columns that the table needs."""
_NAMES = ", ".join(SOURCES)

commands = typer.Typer(
    no_args_is_help=True, help="Training data from public data sets.", rich_markup_mode="markdown"
)

File = Annotated[Path, typer.Argument(help="Instances: .jsonl, .jsonl.gz or .parquet.", show_default=False)]


@commands.command("build")
def build_file(
    ctx: typer.Context,
    source: Annotated[str, typer.Option(help=f"One of {_NAMES}.", show_default=False)],
    data: Annotated[
        Path, typer.Option(help="The source's folder of official files, or one of them.", show_default=False)
    ],
    out: Annotated[
        Path, typer.Option(help="File to write: .jsonl, .jsonl.gz or .parquet.", show_default=False)
    ],
    split: Annotated[str, typer.Option(help="train, or dev for what is never trained on.")] = "train",
    seed: Annotated[int, typer.Option(help="Of every draw.")] = 0,
    instances: Annotated[int | None, typer.Option(help="Most instances; 0 for no limit.")] = None,
    chunks: Annotated[str, typer.Option(help="Fewest and most chunks, such as 5-10.")] = "",
    chunk_tokens: Annotated[str, typer.Option(help="Range that a chunk's tokens are drawn from.")] = "",
    questions: Annotated[str, typer.Option(help="Fewest and most questions, such as 30-100.")] = "",
    answer_tokens: Annotated[
        int | None, typer.Option(help="Leave out questions with longer answers; 0 for no limit.")
    ] = None,
    apart_from: Annotated[
        Path | None, typer.Option(help="Leave out what `check` would find for this test file.")
    ] = None,
) -> None:
    """Build instances of one source in the paper's sizes, or in your own.

    Example: `memalpha data build --source squad --data squad/ --out squad.jsonl`

    A file that results are reported on is refused. With --json: instances, chunks, tokens, questions, …
    """
    session: Session = ctx.obj
    limits = sources.source_named(source).limits.with_(
        instances=instances,
        answer_tokens=answer_tokens,
        chunks=_range("--chunks", chunks),
        chunk_tokens=_range("--chunk-tokens", chunk_tokens),
        questions=_range("--questions", questions),
    )
    apart = Test.of(files.read(apart_from)) if apart_from else None
    files.write(out, build(source, data, split=_split(split), seed=seed, limits=limits, apart=apart))
    _print_summaries(session, summarize(files.read(out)))


@commands.command()
def inspect(
    ctx: typer.Context,
    file: File,
    number: Annotated[int, typer.Argument(help="Which instance, from 1.")] = 1,
    full: Annotated[bool, typer.Option("--full", help="Whole chunks and all questions.")] = False,
) -> None:
    """Show one instance: its chunks and its questions.

    With --json: the instance as it stands in a file.
    """
    session: Session = ctx.obj
    if number < 1:
        raise UsageError(f"the number must be 1 or more, not {number}")
    place = 0
    for place, instance in enumerate(files.read(file), start=1):
        if place == number:
            if session.json:
                print_document(instance.to_dict())
            else:
                _print_instance(session.screen, instance, full=full)
            return
    raise UsageError(f"{file.name} has {place} instances, so there is no number {number}")


@commands.command()
def stats(
    ctx: typer.Context,
    paths: Annotated[list[Path], typer.Argument(help="Files of instances.", show_default=False)],
) -> None:
    """Count instances, chunks, tokens and questions by source, beside the paper's table.

    With --json: one line for each source.
    """
    session: Session = ctx.obj
    _print_summaries(session, summarize(instance for path in paths for instance in files.read(path)))


@commands.command()
def export(
    ctx: typer.Context,
    file: File,
    parquet: Annotated[Path | None, typer.Option(help="Write the official parquet form here.")] = None,
    jsonl: Annotated[Path | None, typer.Option(help="Write JSON lines here.")] = None,
) -> None:
    """Convert instances to the official parquet form, or official parquet files to JSON lines.

    Example: `memalpha data export train.jsonl --parquet train.parquet`
    """
    session: Session = ctx.obj
    target = parquet or jsonl
    if target is None or (parquet and jsonl):
        raise UsageError("give either --parquet or --jsonl")
    if (target.suffix == files.PARQUET) != (target == parquet):
        raise UsageError(
            f"--parquet takes a name that ends in .parquet, --jsonl any other, not {target.name}"
        )
    count = files.write(target, files.read(file))
    if session.json:
        print_document({"file": str(target), "instances": count})
    else:
        session.screen.out.print(f"{visible(target.name)}: {count:,} instances")


@commands.command()
def check(
    ctx: typer.Context,
    train: Annotated[Path, typer.Argument(help="What is trained on.", show_default=False)],
    test: Annotated[Path, typer.Argument(help="What results are reported on.", show_default=False)],
) -> None:
    """Check that no test question, no line that answers one, and no near copy is in training.

    Exit code 1 if there is a leak. With --json: one line for each: kind, test, train, alike, text.
    """
    session: Session = ctx.obj
    index = Test.of(files.read(test))
    leaks = list(index.leaks(files.read(train)))
    if session.json:
        for leak in leaks:
            print_line({name: getattr(leak, name) for name in Leak.__slots__})
    else:
        _print_leaks(session.screen, leaks, index.questions)
    if leaks:
        raise typer.Exit(FAILED)


def _split(name: str) -> Split:
    if name == "train" or name == "dev":
        return name
    raise UsageError(f"--split must be train or dev, not {name!r}")


def _range(option: str, text: str) -> tuple[int, int] | None:
    """Reads `5-10`, or `10` for exactly ten."""
    if not text:
        return None
    low, _, high = text.partition("-")
    if not all(part.isascii() and part.isdigit() for part in (low, high or low)):
        raise UsageError(f"{option} must be a range such as 5-10, not {text!r}")
    return int(low), int(high or low)


def _print_summaries(session: Session, summaries: list[Summary]) -> None:
    if session.json:
        for summary in summaries:
            print_line(_document(summary))
        return
    table = Table(box=None, header_style="bold")
    table.add_column("source")
    for name in ("instances", "chunks", "tokens/chunk", "questions", "with evidence"):
        table.add_column(name, justify="right")
    table.add_column("paper", style="dim")
    for name in ("instances", "chunks", "tokens/chunk", "questions"):
        table.add_column(name, justify="right", style="dim")
    for summary in summaries:
        table.add_row(*_cells(summary))
    # in a pipe there are no columns to count, and a cut number is no number
    session.screen.out.width = max(session.screen.out.width, WIDEST)
    session.screen.out.print(table)


def _cells(summary: Summary) -> list[str]:
    own = [
        visible(summary.source),
        f"{summary.instances:,}",
        f"{summary.chunks_per_instance:.1f}",
        f"{summary.tokens_per_chunk:,.0f}",
        f"{summary.questions_per_instance:.1f}",
        f"{summary.with_evidence / summary.questions:.0%}",
    ]
    row = summary.paper
    if row is None:
        return [*own, "–", "", "", "", ""]
    return [
        *own,
        row.name,
        f"{row.instances}",
        f"{row.chunks:.1f}",
        f"{row.chunk_tokens:,.0f}",
        f"{row.questions:.1f}",
    ]


def _document(summary: Summary) -> dict[str, object]:
    row = summary.paper
    return {
        "source": summary.source,
        "instances": summary.instances,
        "chunks": summary.chunks,
        "tokens": summary.tokens,
        "questions": summary.questions,
        "with_evidence": summary.with_evidence,
        "paper": {name: getattr(row, name) for name in row.__slots__} if row else None,
    }


def _print_instance(screen: Screen, instance: Instance, *, full: bool) -> None:
    head = (f"{visible(instance.instance_id)}", "bold"), (f"  {visible(instance.source)}", "dim")
    screen.out.print(Text.assemble(*head))
    for number, chunk in enumerate(instance.chunks):
        screen.out.print(Text.assemble((f"chunk {number}", "cyan"), (f"  {chunk.event_time}", "dim")))
        screen.out.print(indented(visible(chunk.text), 3) if full else f"   {one_line(chunk.text)}")
    shown = instance.questions if full else instance.questions[:SHOWN_QUESTIONS]
    for question in shown:
        where = f"chunks {', '.join(map(str, question.evidence))}" if question.evidence else "no evidence"
        screen.out.print(f"? {one_line(question.question)}")
        screen.out.print(f"   {one_line(' | '.join(question.answers))}", style="green")
        screen.out.print(f"   {question.metric}, {one_line(where)}", style="dim")
    if left := len(instance.questions) - len(shown):
        screen.out.print(f"… and {left} more questions", style="dim")


def _print_leaks(screen: Screen, leaks: list[Leak], questions: int) -> None:
    for leak in leaks[:SHOWN_LEAKS]:
        screen.out.print(
            Text.assemble((f"{leak.kind}  ", "red"), f"{visible(leak.test)} ~ {visible(leak.train)}")
        )
        if leak.text:
            screen.out.print(f"   {leak.alike:.2f}  {one_line(leak.text)}", style="dim")
    if len(leaks) > SHOWN_LEAKS:
        screen.out.print(f"… and {len(leaks) - SHOWN_LEAKS:,} more", style="dim")
    counts = Counter(leak.kind for leak in leaks)
    found = ", ".join(f"{count:,} by {kind}" for kind, count in counts.items()) or "no leak"
    screen.out.print(f"{questions:,} test questions: {found}", style="bold")
