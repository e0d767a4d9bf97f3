"""The command `power`: how many questions a difference needs, before anything is run."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from memalpha_evals import pages
from memalpha_evals.commands.options import AsJson, plain
from memalpha_evals.statistics import detectable, unpaired

USUAL = (50, 100, 128, 200, 500, 1000, 1540, 2000)
"""Questions of usual sets: 128 a cell of the seed table, 1,540 of LoCoMo without adversarial ones."""


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("power")(power)


def power(
    questions: Annotated[list[int] | None, typer.Argument(min=1, help="How many; else usual ones.")] = None,
    discordant: Annotated[
        float, typer.Option(min=0.01, max=1, help="Share that just one of two systems gets right.")
    ] = 0.2,
    as_json: AsJson = False,
) -> None:
    """The smallest difference in points that would be seen four times in five, at 5 % false alarms.

    Example: evals power 100 400

    Same questions: two systems of one run, paired. Other questions: against somebody's published figure.
    Questions about one conversation tell less than as many of different ones: what a comparison could have
    seen is in its own report.
    """
    counts = questions or list(USUAL)
    found = [(count, 100 * detectable(count, discordant), 100 * unpaired(count)) for count in counts]
    if as_json:
        names = ("questions", "same_questions", "other_questions")
        print(json.dumps([dict(zip(names, row, strict=True)) for row in found]))
        return
    header = ["questions", "same questions, points", "other questions, points"]
    rows = [[f"{count:,}", f"{same:.1f}", f"{other:.1f}"] for count, same, other in found]
    pages.show([("Smallest difference seen 4 times in 5", header, rows)], plain())
