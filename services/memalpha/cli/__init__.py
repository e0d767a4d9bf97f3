"""The command line. One file per group of commands; `shell` holds what they share.

Results are on standard output, progress and messages on standard error. `--json` makes the result one
documented JSON document, or JSON lines, and nothing else. Exit codes: 0 done, 1 failed, 2 bad usage or
input, 3 a service cannot be reached, 130 interrupted.
"""

import os
import sys
from importlib import metadata
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated

import typer

from memalpha.cli import (
    answer,
    banks,
    consolidate,
    data,
    demo,
    doctor,
    embedder,
    history,
    memorize,
    model,
    recall,
    services,
)
from memalpha.cli.shell import FAILED, Session, Shell

__all__ = ["app", "main"]

app = typer.Typer(
    cls=Shell,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"memalpha {metadata.version('memalpha')}")
        raise typer.Exit


@app.callback()
def root(
    ctx: typer.Context,
    embedded: Annotated[
        Path | None, typer.Option(help="Use the store in this folder, without services.", show_default=False)
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(help="Settings file; otherwise ./memalpha.toml, if it is there.", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Long-term memory for LLM agents.

    Start with `memalpha up`, or add `--embedded DIR` to do without services:

    memalpha memorize notes.md --bank me --embedded ./memory

    memalpha recall "What do I like?" --bank me --embedded ./memory

    The options below may stand anywhere. Addresses and the rest are settings: MEMALPHA_* or memalpha.toml.
    """
    ctx.obj = Session(config=config, embedded=embedded, json=as_json)


app.command("up")(services.start)
app.command("serve", hidden=True)(services.serve)
app.command()(services.health)
app.command()(doctor.doctor)
app.command()(memorize.memorize)
app.command()(recall.recall)
app.command()(answer.answer)
app.command()(consolidate.consolidate)
app.command()(banks.show)
app.command()(history.history)
app.add_typer(banks.commands, name="banks")
app.add_typer(data.commands, name="data")
app.add_typer(model.commands, name="model")
app.command()(banks.unpark)
app.command()(embedder.embedder)
app.command()(demo.demo)


def main() -> None:
    """Runs the command line of this process."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except OSError as error:
        # what is left in the buffer cannot be written either, but would be tried again when the process ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            print(f"error: cannot write the output: {error.strerror}", file=sys.stderr)
        sys.exit(FAILED)
