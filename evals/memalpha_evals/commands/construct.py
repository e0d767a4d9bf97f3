"""The commands `construct`: what writers keep of the evidence."""

import json
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from memalpha_evals.commands.options import (
    AsJson,
    BeamFolder,
    Chats,
    Data,
    Seed,
    WriteDocs,
    chosen_chats,
    plain,
    progress,
)
from memalpha_evals.construct import measure, report
from memalpha_evals.construct.measure import Probes
from memalpha_evals.construct.observations import probes
from memalpha_evals.datasets import Dataset, beam, locomo
from memalpha_evals.datasets.locomo_observations import observations

Budgets = Annotated[str, typer.Option(help="Most tokens to write, as shares of what is read.")]

DEFAULT_BUDGETS = "0.1,0.25,0.5,1"

construct_app = typer.Typer(
    name="construct",
    help="What writers keep of the evidence for the tokens they store; without a model or a reader.",
    no_args_is_help=True,
)

_SHARE = re.compile(r"[01](\.[0-9]+)?|\.[0-9]+")


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.add_typer(construct_app)


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


@construct_app.command("locomo-observations")
def construct_observations(
    data: Data,
    budgets: Budgets = DEFAULT_BUDGETS,
    seed: Seed = 0,
    write_docs: WriteDocs = False,
    as_json: AsJson = False,
) -> None:
    """How much of LoCoMo's observations is kept, sentences about the speakers, in place of evidence.

    Example: evals construct locomo-observations --data locomo10.json
    """
    told = probes(observations(data))
    read = partial(_renamed, "locomo-observations", data)
    _construct(read, data.name, budgets, seed, write_docs, as_json, told)


def _renamed(name: str, data: Path) -> Dataset:
    return replace(locomo.read(data), name=name)


@construct_app.command("beam")
def construct_beam(
    data: BeamFolder,
    chats: Chats = "",
    budgets: Budgets = DEFAULT_BUDGETS,
    seed: Seed = 0,
    write_docs: WriteDocs = False,
    as_json: AsJson = False,
) -> None:
    """Evidence kept per stored token on BEAM.

    Example: evals construct beam --data chats/100K --budgets 0.1,0.25
    """
    _construct(lambda: beam.read(data, chosen_chats(chats)), data.name, budgets, seed, write_docs, as_json)


def _construct(
    read: Callable[[], Dataset],
    file: str,
    budgets: str,
    seed: int,
    write_docs: bool,
    as_json: bool,
    asked: Probes | None = None,
) -> None:
    shares = _shares(budgets)
    dataset = read()
    with progress(measure.chunks(dataset, shares, asked)) as advance:
        result = measure.run(dataset, shares, seed, advance, asked)
    content = report.document(result, file, date.today().isoformat())
    if as_json:
        print(json.dumps(content))
    else:
        report.show(content, plain())
    if write_docs:
        print(f"written: {report.write_docs(content)}", file=sys.stderr)


def _shares(text: str) -> list[float]:
    """Reads `0.1,1`: different shares, returned in ascending order."""
    parts = [part.strip() for part in text.split(",")]
    if not all(_SHARE.fullmatch(part) and 0 < float(part) <= 1 for part in parts):
        rule = "must be shares above 0 and at most 1, separated by commas"
        raise typer.BadParameter(f"{rule}, not {text!r}", param_hint="--budgets")
    return sorted({float(part) for part in parts})
