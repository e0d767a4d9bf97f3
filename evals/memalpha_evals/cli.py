"""`evals`: the command line. Results go to standard output, progress and errors to standard error.

Exit code 0 means that the evaluation ran, 2 that its input was not usable.
"""

import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.progress import Progress

from memalpha.client import AgentClient
from memalpha.config import load
from memalpha.errors import MemalphaError
from memalpha.tasks.ledger.stream import MOST_UNITS
from memalpha_evals import (
    commands_bench,
    commands_compare,
    commands_dose,
    commands_judge,
    commands_run,
    commands_seed_table,
    commands_suites,
    construct,
    construct_report,
    fusion,
    ledger,
    ledger_report,
)
from memalpha_evals.datasets import READERS, Dataset, DatasetError, beam, locomo
from memalpha_evals.first_look import look, markdown
from memalpha_evals.report import Report, document, show
from memalpha_evals.retrievers import DEPTH, SYSTEMS, minilm
from memalpha_evals.store import evaluate

BAD_INPUT = 2

app = typer.Typer(
    name="evals",
    help="Comparisons of memory systems on long contexts.",
    no_args_is_help=True,
    add_completion=False,
)
store_app = typer.Typer(
    name="store",
    help="Retrieval alone, without a model: does a search find the evidence?",
    no_args_is_help=True,
)
construct_app = typer.Typer(
    name="construct",
    help="What writers keep of the evidence for the tokens they store; without a model or a reader.",
    no_args_is_help=True,
)
app.add_typer(store_app)
app.add_typer(construct_app)
commands_suites.register(app)
commands_seed_table.register(app)
commands_run.register(app)
commands_bench.register(app)
commands_compare.register(app)
commands_judge.register(app)
commands_dose.register(app)

Data = Annotated[Path, typer.Option(help="The official file, whole or in part, gzip allowed.")]
Systems = Annotated[
    str, typer.Option(help=f"Of {', '.join(SYSTEMS)}; the others are compared with the first.")
]
Places = Annotated[str, typer.Option("--k", help="Places at which recall is taken.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document (keys: evals/README.md).")]

Budgets = Annotated[str, typer.Option(help="Most tokens to write, as shares of what is read.")]
Seed = Annotated[int, typer.Option(min=0, max=1_000_000, help="Of what is drawn at random.")]
WriteDocs = Annotated[bool, typer.Option("--write-docs", help="Tables and numbers into docs/.")]

DEFAULT_BUDGETS = "0.1,0.25,0.5,1"
DEFAULT_SYSTEMS = "words,vectors,fused,hybrid"
DEFAULT_PLACES = "1,5,10,20,50"

_SHARE = re.compile(r"[01](\.[0-9]+)?|\.[0-9]+")
_WIDEST = 240
"""Columns of the output."""


@store_app.command("locomo")
def store_locomo(
    data: Data,
    categories: Annotated[
        str, typer.Option(help="Categories of the overall row; 5, adversarial, is shown apart unless named.")
    ] = "1,2,3,4",
    systems: Systems = DEFAULT_SYSTEMS,
    places: Places = DEFAULT_PLACES,
    as_json: AsJson = False,
) -> None:
    """Evidence recall on LoCoMo, turn by turn.

    Example: evals store locomo --data locomo10.json
    """
    numbers = _numbers(categories, "categories", 1, len(locomo.CATEGORIES))
    counted = [locomo.CATEGORIES[number] for number in numbers]
    _compare(lambda: locomo.read(data), data.name, systems, places, as_json, counted)


@store_app.command("beam")
def store_beam(
    data: Annotated[Path, typer.Option(help="The folder of chats as published, such as chats/100K.")],
    chats: Annotated[str, typer.Option(help="Numbers of chats, such as 13,14,15,16; all unless given.")] = "",
    systems: Systems = DEFAULT_SYSTEMS,
    places: Places = DEFAULT_PLACES,
    as_json: AsJson = False,
) -> None:
    """Evidence recall on BEAM, message by message.

    Example: evals store beam --data chats/100K
    """
    numbers = _numbers(chats, "chats", 1, 10_000) if chats else None
    _compare(lambda: beam.read(data, numbers), data.name, systems, places, as_json)


@store_app.command("hotpotqa")
def store_hotpotqa(
    data: Data,
    systems: Systems = DEFAULT_SYSTEMS,
    places: Places = DEFAULT_PLACES,
    as_json: AsJson = False,
) -> None:
    """Evidence recall on HotpotQA, the passages of all questions in one bank."""
    _compare(lambda: READERS["hotpotqa"](data), data.name, systems, places, as_json)


@store_app.command("2wiki")
def store_2wiki(
    data: Data,
    systems: Systems = DEFAULT_SYSTEMS,
    places: Places = DEFAULT_PLACES,
    as_json: AsJson = False,
) -> None:
    """Evidence recall on 2WikiMultihopQA, the passages of all questions in one bank."""
    _compare(lambda: READERS["2wiki"](data), data.name, systems, places, as_json)


@store_app.command("musique")
def store_musique(
    data: Data,
    systems: Systems = DEFAULT_SYSTEMS,
    places: Places = DEFAULT_PLACES,
    as_json: AsJson = False,
) -> None:
    """Evidence recall on MuSiQue, the paragraphs of all questions in one bank."""
    _compare(lambda: READERS["musique"](data), data.name, systems, places, as_json)


@store_app.command("nq")
def store_nq(
    data: Data,
    systems: Systems = DEFAULT_SYSTEMS,
    places: Places = DEFAULT_PLACES,
    as_json: AsJson = False,
) -> None:
    """Evidence recall on Natural Questions, the gold passages of all questions in one bank."""
    _compare(lambda: READERS["nq"](data), data.name, systems, places, as_json)


@store_app.command("fusion")
def store_fusion(
    data: Annotated[
        list[str], typer.Option(help="A data set as NAME=PATH, such as nq=nq-open.jsonl.gz; repeat.")
    ],
    embedder: Annotated[
        Literal["builtin", "minilm"], typer.Option(help="Whose vectors; minilm needs the extra of this name.")
    ] = "builtin",
    as_json: AsJson = False,
) -> None:
    """Recall by the weight of the vectors, on several sets at once: what the default weight was chosen from.

    Example: evals store fusion --data locomo=locomo10.json --data beam=chats/100K
    """
    datasets = [_named(argument) for argument in data]
    for dataset in datasets:
        _check_scorable(dataset, dataset.name, dataset.categories())
    with _progress(sum(fusion.searches(dataset) for dataset in datasets)) as advance:
        encoder = minilm() if embedder == "minilm" else "builtin"
        sweeps = [fusion.sweep(dataset, encoder, advance) for dataset in datasets]
    if as_json:
        print(json.dumps(fusion.document(sweeps, embedder)))
    else:
        fusion.show(sweeps, embedder, _plain())


def _compare(
    read: Callable[[], Dataset],
    file: str,
    systems: str,
    places: str,
    as_json: bool,
    counted: Sequence[str] | None = None,
) -> None:
    """Runs the systems on a data set and prints what they found."""
    ks = _numbers(places, "k", 1, DEPTH)
    chosen = [SYSTEMS[name]() for name in _names(systems)]
    dataset = read()
    counted = counted or dataset.categories()
    _check_scorable(dataset, file, counted)
    usable = sum(bool(question.evidence) for _, question in dataset.questions())
    with _progress(usable * len(chosen)) as advance:
        result = evaluate(dataset, chosen, advance)
    report = Report(file=file, dataset=dataset, result=result, systems=chosen, counted=counted, ks=ks)
    if as_json:
        print(json.dumps(document(report), ensure_ascii=False))
    else:
        show(report, _plain())


def _check_scorable(dataset: Dataset, file: str, counted: Sequence[str]) -> None:
    if not any(question.evidence and question.category in counted for _, question in dataset.questions()):
        raise DatasetError(f"{file} has no question with evidence in the categories {', '.join(counted)}")


def _numbers(text: str, name: str, low: int, high: int) -> list[int]:
    """Reads `1,5,10`: different numbers, returned in ascending order."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and low <= int(part) <= high for part in parts):
        rule = f"must be numbers from {low} to {high}, separated by commas"
        raise typer.BadParameter(f"{rule}, not {text!r}", param_hint=f"--{name}")
    return sorted({int(part) for part in parts})


def _names(text: str) -> list[str]:
    """Reads `words,hybrid`: systems in the given order, each once."""
    names = list(dict.fromkeys(part.strip() for part in text.split(",")))
    if not all(name in SYSTEMS for name in names):
        rule = f"must be of {', '.join(SYSTEMS)}, separated by commas"
        raise typer.BadParameter(f"{rule}, not {text!r}", param_hint="--systems")
    return names


def _named(argument: str) -> Dataset:
    """Reads the data set of `NAME=PATH`."""
    name, _, path = argument.partition("=")
    if name not in READERS or not path:
        rule = f"must be NAME=PATH with a name of {', '.join(READERS)}"
        raise typer.BadParameter(f"{rule}, not {argument!r}", param_hint="--data")
    return READERS[name](Path(path))


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    """A bar on standard error for people, advanced by what is yielded."""
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("questions", total=total)
        yield lambda answered: bar.advance(task, answered)


def _plain() -> Console:
    """As wide as any table: in a pipe there are no columns to count, and a cut number is no number."""
    return Console(highlight=False, markup=False, emoji=False, soft_wrap=True, width=_WIDEST)


@app.command("first-look")
def first_look(
    data: Annotated[Path, typer.Option(help="The LoCoMo file that the bank was memorized from.")],
    conversation: Annotated[str, typer.Option(help="The conversation's sample_id.")],
    bank: Annotated[str, typer.Option(help="The bank it was memorized into, through the running services.")],
    words: Annotated[bool, typer.Option(help="Show the data set's texts too.")] = False,
) -> None:
    """What recall gives for the first question of each LoCoMo category, hits and misses alike.

    Example: memalpha memorize locomo10.json --conversation conv-26 --bank look, then
    evals first-look --data locomo10.json --conversation conv-26 --bank look
    """
    conversations = {one.id: one for one in locomo.read(data).conversations}
    if conversation not in conversations:
        known = ", ".join(conversations)
        raise DatasetError(f"{data.name} has no conversation {conversation!r}; it has {known}")
    one = conversations[conversation]
    with AgentClient.connect(load().agent_address) as agent:
        print(markdown(one, look(one, agent, bank), words=words))


@app.command("ledger")
def ledger_table(
    lengths: Annotated[str, typer.Option(help="In units of six chunks.")] = "1,4,13,40",
    streams: Annotated[int, typer.Option(min=1, max=1000, help="Streams of each length.")] = 20,
    seed: Annotated[int, typer.Option(min=0, max=1_000_000, help="Of the streams.")] = 0,
    write_docs: Annotated[bool, typer.Option("--write-docs", help="Table and numbers into docs/.")] = False,
    as_json: AsJson = False,
) -> None:
    """Scripted writers on the ledger, by length: the floor, the ceiling and what lies between.

    Example: evals ledger --lengths 1,4 --streams 10
    """
    units = _numbers(lengths, "lengths", 1, MOST_UNITS)
    with _progress(ledger.chunks(units, streams)) as advance:
        result = ledger.run(units, streams, seed, advance)
    content = ledger_report.document(result, date.today().isoformat())
    if as_json:
        print(json.dumps(content))
    else:
        ledger_report.show(content, _plain())
    if write_docs:
        print(f"written: {ledger_report.write_docs(content)}", file=sys.stderr)


@construct_app.command("locomo")
def construct_locomo(
    data: Data,
    budgets: Budgets = DEFAULT_BUDGETS,
    seed: Seed = 0,
    write_docs: WriteDocs = False,
    as_json: AsJson = False,
) -> None:
    """Evidence kept per stored token on LoCoMo, without the adversarial questions.

    Example: evals construct locomo --data locomo10.json
    """
    _construct(lambda: locomo.read(data), data.name, budgets, seed, write_docs, as_json)


@construct_app.command("beam")
def construct_beam(
    data: Annotated[Path, typer.Option(help="The folder of chats as published, such as chats/100K.")],
    chats: Annotated[str, typer.Option(help="Numbers of chats, such as 13,14,15,16; all unless given.")] = "",
    budgets: Budgets = DEFAULT_BUDGETS,
    seed: Seed = 0,
    write_docs: WriteDocs = False,
    as_json: AsJson = False,
) -> None:
    """Evidence kept per stored token on BEAM.

    Example: evals construct beam --data chats/100K --budgets 0.1,0.25
    """
    numbers = _numbers(chats, "chats", 1, 10_000) if chats else None
    _construct(lambda: beam.read(data, numbers), data.name, budgets, seed, write_docs, as_json)


def _construct(
    read: Callable[[], Dataset], file: str, budgets: str, seed: int, write_docs: bool, as_json: bool
) -> None:
    shares = _shares(budgets)
    dataset = read()
    with _progress(construct.chunks(dataset, shares)) as advance:
        result = construct.run(dataset, shares, seed, advance)
    content = construct_report.document(result, file, date.today().isoformat())
    if as_json:
        print(json.dumps(content))
    else:
        construct_report.show(content, _plain())
    if write_docs:
        print(f"written: {construct_report.write_docs(content)}", file=sys.stderr)


def _shares(text: str) -> list[float]:
    """Reads `0.1,1`: different shares, returned in ascending order."""
    parts = [part.strip() for part in text.split(",")]
    if not all(_SHARE.fullmatch(part) and 0 < float(part) <= 1 for part in parts):
        rule = "must be shares above 0 and at most 1, separated by commas"
        raise typer.BadParameter(f"{rule}, not {text!r}", param_hint="--budgets")
    return sorted({float(part) for part in parts})


def main() -> None:
    """Entry point of the `evals` command."""
    try:
        app()
    except (DatasetError, MemalphaError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(BAD_INPUT)
