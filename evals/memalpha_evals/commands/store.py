"""The commands `store`: retrieval alone, on each set that has evidence."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any, Literal

import typer

from memalpha_evals.bench.bars import Bar
from memalpha_evals.commands.options import (
    AsJson,
    BeamFolder,
    Chats,
    Data,
    WriteDocs,
    chosen_chats,
    machine,
    numbers,
    plain,
    progress,
    words,
)
from memalpha_evals.datasets import READERS, Dataset, DatasetError, beam, locomo
from memalpha_evals.retrieval import fusion, page
from memalpha_evals.retrieval.report import Report, document, show
from memalpha_evals.retrieval.retrievers import DEPTH, SYSTEMS, minilm
from memalpha_evals.retrieval.store import evaluate

DEFAULT_SYSTEMS = ("words", "plain", "vectors", "fused", "hybrid")

Systems = Annotated[
    list[str] | None,
    typer.Option(
        help=f"Of {', '.join(SYSTEMS)}, between commas, or repeat; the others are compared with the first. "
        f"Unset: {', '.join(DEFAULT_SYSTEMS)}.",
        show_default=False,
    ),
]
Places = Annotated[str, typer.Option("--k", help="Places at which recall is taken.")]

DEFAULT_PLACES = "1,5,10,20,50"

MOST_SECONDS = 60
"""Of LoCoMo by the default systems: what is promised."""


@dataclass(frozen=True, slots=True)
class Output:
    """Where it goes: to the screen and the page; and the seconds promised of the default systems, 0: none."""

    as_json: bool
    write_docs: bool = False
    most_seconds: float = 0


store_app = typer.Typer(
    name="store",
    help="Retrieval alone, without a model: does a search find the evidence?",
    no_args_is_help=True,
)


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.add_typer(store_app)


@store_app.command("locomo")
def store_locomo(
    data: Data,
    categories: Annotated[
        str, typer.Option(help="Categories of the overall row; 5, adversarial, is shown apart unless named.")
    ] = "1,2,3,4",
    systems: Systems = None,
    places: Places = DEFAULT_PLACES,
    write_docs: WriteDocs = False,
    as_json: AsJson = False,
) -> None:
    """Evidence recall on LoCoMo, turn by turn.

    Example: evals store locomo --data locomo10.json

    Ends with 1 if the default systems take longer than is promised.
    """
    chosen = numbers(categories, "categories", 1, len(locomo.CATEGORIES))
    counted = [locomo.CATEGORIES[number] for number in chosen]
    output = Output(as_json, write_docs, MOST_SECONDS)
    _compare(lambda: locomo.read(data), data.name, systems, places, output, counted)


@store_app.command("beam")
def store_beam(
    data: BeamFolder,
    chats: Chats = "",
    systems: Systems = None,
    places: Places = DEFAULT_PLACES,
    as_json: AsJson = False,
) -> None:
    """Evidence recall on BEAM, message by message.

    Example: evals store beam --data chats/100K
    """
    _compare(lambda: beam.read(data, chosen_chats(chats)), data.name, systems, places, Output(as_json))


@store_app.command("hotpotqa")
def store_hotpotqa(
    data: Data,
    systems: Systems = None,
    places: Places = DEFAULT_PLACES,
    as_json: AsJson = False,
) -> None:
    """Evidence recall on HotpotQA, the passages of all questions in one bank."""
    _compare(lambda: READERS["hotpotqa"](data), data.name, systems, places, Output(as_json))


@store_app.command("2wiki")
def store_2wiki(
    data: Data,
    systems: Systems = None,
    places: Places = DEFAULT_PLACES,
    as_json: AsJson = False,
) -> None:
    """Evidence recall on 2WikiMultihopQA, the passages of all questions in one bank."""
    _compare(lambda: READERS["2wiki"](data), data.name, systems, places, Output(as_json))


@store_app.command("musique")
def store_musique(
    data: Data,
    systems: Systems = None,
    places: Places = DEFAULT_PLACES,
    as_json: AsJson = False,
) -> None:
    """Evidence recall on MuSiQue, the paragraphs of all questions in one bank."""
    _compare(lambda: READERS["musique"](data), data.name, systems, places, Output(as_json))


@store_app.command("nq")
def store_nq(
    data: Data,
    systems: Systems = None,
    places: Places = DEFAULT_PLACES,
    as_json: AsJson = False,
) -> None:
    """Evidence recall on Natural Questions, the gold passages of all questions in one bank."""
    _compare(lambda: READERS["nq"](data), data.name, systems, places, Output(as_json))


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
    with progress(sum(fusion.searches(dataset) for dataset in datasets)) as advance:
        encoder = minilm() if embedder == "minilm" else "builtin"
        sweeps = [fusion.sweep(dataset, encoder, advance) for dataset in datasets]
    if as_json:
        print(json.dumps(fusion.document(sweeps, embedder)))
    else:
        fusion.show(sweeps, embedder, plain())


def _compare(
    read: Callable[[], Dataset],
    file: str,
    systems: list[str] | None,
    places: str,
    output: Output,
    counted: Sequence[str] | None = None,
) -> None:
    """Runs the systems on a data set and prints what they found."""
    ks = numbers(places, "k", 1, DEPTH)
    names = system_names(systems or DEFAULT_SYSTEMS)
    chosen = [SYSTEMS[name]() for name in names]
    begun = perf_counter()
    dataset = read()
    counted = counted or dataset.categories()
    _check_scorable(dataset, file, counted)
    usable = sum(bool(question.evidence) for _, question in dataset.questions())
    with progress(usable * len(chosen)) as advance:
        result = evaluate(dataset, chosen, advance)
    report = Report(file, dataset, result, chosen, counted, ks, perf_counter() - begun)
    content = document(report)
    if output.as_json:
        print(json.dumps(content, ensure_ascii=False))
    else:
        show(report, plain())
    judged = output.most_seconds if tuple(names) == DEFAULT_SYSTEMS else 0
    promised = [Bar("seconds", report.seconds, judged, ".1f")] if judged else []
    if output.write_docs:
        _write(content, promised)
    _require_met(promised)


def _write(content: dict[str, Any], promised: Sequence[Bar]) -> None:
    promises = [bar.to_dict() for bar in promised]
    written = page.write_docs({**machine(), **content, "promised": promises}, [bar.row() for bar in promised])
    print(f"written: {written}", file=sys.stderr)


def _require_met(promised: Sequence[Bar]) -> None:
    """Ends the command with 1 if a bar is missed."""
    missed = [bar for bar in promised if not bar.met]
    for bar in missed:
        what, rule, measured, verdict = bar.row()
        print(f"{what}: {measured}, {rule} is promised: {verdict}", file=sys.stderr)
    if missed:
        raise typer.Exit(1)


def _check_scorable(dataset: Dataset, file: str, counted: Sequence[str]) -> None:
    if not any(question.evidence and question.category in counted for _, question in dataset.questions()):
        raise DatasetError(f"{file} has no question with evidence in the categories {', '.join(counted)}")


def system_names(options: Sequence[str]) -> list[str]:
    """Reads `words,hybrid`: systems in the given order, each once."""
    names = list(dict.fromkeys(words(options)))
    if not names or not all(name in SYSTEMS for name in names):
        rule = f"must be of {', '.join(SYSTEMS)}, separated by commas"
        raise typer.BadParameter(f"{rule}, not {','.join(options)!r}", param_hint="--systems")
    return names


def _named(argument: str) -> Dataset:
    """Reads the data set of `NAME=PATH`."""
    name, _, path = argument.partition("=")
    if name not in READERS or not path:
        rule = f"must be NAME=PATH with a name of {', '.join(READERS)}"
        raise typer.BadParameter(f"{rule}, not {argument!r}", param_hint="--data")
    return READERS[name](Path(path))
