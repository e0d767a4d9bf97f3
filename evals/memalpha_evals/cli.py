"""`evals`: the command line. Results go to standard output, progress and errors to standard error.

Exit code 0 means that the evaluation ran, 2 that its input was not usable.
"""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from memalpha.client import AgentClient
from memalpha.config import load
from memalpha.errors import MemalphaError
from memalpha_evals.datasets import DatasetError, locomo
from memalpha_evals.first_look import look, markdown
from memalpha_evals.report import Report, document, show
from memalpha_evals.retrievers import DEPTH, Memcore, Okapi
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
app.add_typer(store_app)


def _numbers(text: str, name: str, low: int, high: int) -> list[int]:
    """Reads `1,5,10`: different numbers, returned in ascending order."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and low <= int(part) <= high for part in parts):
        rule = f"must be numbers from {low} to {high}, separated by commas"
        raise typer.BadParameter(f"{rule}, not {text!r}", param_hint=f"--{name}")
    return sorted({int(part) for part in parts})


@store_app.command("locomo")
def store_locomo(
    data: Annotated[Path, typer.Option(help="The official locomo10.json, whole or in part, gzip allowed.")],
    categories: Annotated[
        str, typer.Option(help="Categories of the overall row; 5, adversarial, is shown apart unless named.")
    ] = "1,2,3,4",
    k: Annotated[str, typer.Option(help="Places at which recall is taken.")] = "1,5,10,20,50",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document (keys: evals/README.md).")
    ] = False,
) -> None:
    """Evidence recall on LoCoMo, turn by turn, beside a rank_bm25 baseline in the same run.

    Example: evals store locomo --data locomo10.json
    """
    counted = [
        locomo.CATEGORIES[number] for number in _numbers(categories, "categories", 1, len(locomo.CATEGORIES))
    ]
    ks = _numbers(k, "k", 1, DEPTH)
    dataset = locomo.read(data)
    if not any(question.evidence and question.category in counted for _, question in dataset.questions()):
        raise DatasetError(
            f"{data.name} has no question with evidence in the categories {', '.join(counted)}"
        )
    systems = (Memcore(), Okapi())
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        usable = sum(bool(question.evidence) for _, question in dataset.questions())
        task = bar.add_task("questions", total=usable * len(systems))
        result = evaluate(dataset, systems, lambda answered: bar.advance(task, answered))
    report = Report(file=data.name, dataset=dataset, result=result, systems=systems, counted=counted, ks=ks)
    if as_json:
        print(json.dumps(document(report), ensure_ascii=False))
    else:
        show(report, Console(highlight=False, markup=False, emoji=False, soft_wrap=True))


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


def main() -> None:
    """Entry point of the `evals` command."""
    try:
        app()
    except (DatasetError, MemalphaError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(BAD_INPUT)
