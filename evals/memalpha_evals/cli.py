"""`evals`: the command line. Results go to standard output, progress and errors to standard error.

Exit code 0 means that the evaluation ran; 1 that it did and found something wrong (a control, a canary, a
bar, no answer at all), or stopped because nobody answers or nothing can be written; 2 that its input was not
usable; 130 that a person stopped it.
"""

import sys

import typer

from memalpha.errors import MemalphaError
from memalpha_evals.commands import (
    bench,
    compare,
    construct,
    current,
    dose,
    first_look,
    judge,
    ledger,
    packed,
    power,
    run,
    seed_table,
    store,
    suites,
)
from memalpha_evals.datasets import DatasetError

BAD_INPUT = 2

app = typer.Typer(
    name="evals",
    help="Comparisons of memory systems on long contexts.",
    no_args_is_help=True,
    add_completion=False,
)
for commands in (
    suites,
    run,
    compare,
    power,
    seed_table,
    judge,
    store,
    current,
    construct,
    packed,
    dose,
    ledger,
    bench,
    first_look,
):
    commands.register(app)


def main() -> None:
    """Entry point of the `evals` command."""
    try:
        app()
    except (DatasetError, MemalphaError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(BAD_INPUT)
