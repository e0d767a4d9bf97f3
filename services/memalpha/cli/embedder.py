"""`embedder`: what makes a bank's vectors, and how many of its memories have one."""

from enum import StrEnum
from typing import Annotated

import typer

from memalpha import app
from memalpha.api.memory.v1alpha1 import memory_pb2 as pb
from memalpha.cli.documents import document, enum_name, print_document
from memalpha.cli.shell import BankArgument, Session
from memalpha.cli.style import visible


class EmbedderName(StrEnum):
    """What can make vectors, as the settings name it."""

    NONE = "none"
    BUILTIN = "builtin"
    OPENAI = "openai"
    SENTENCE_TRANSFORMERS = "sentence-transformers"


def embedder(
    ctx: typer.Context,
    bank: BankArgument,
    choice: Annotated[
        EmbedderName | None,
        typer.Option(
            "--set",
            help="Change it, to one that the settings describe.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Show what makes a bank's vectors and how many memories have one, or change it.

    Example: `memalpha embedder demo --set builtin`

    A change drops the old vectors; new ones are made in the background, and words are searched all the
    while. An external one is made by an agent with the same embedder in its settings.

    With --json: bank.
    """
    session: Session = ctx.obj
    if choice is None:
        found = session.run(lambda faces: faces.memory.get_bank(bank))
    else:
        chosen = {"kind": str(choice)}
        settings = session.settings(embedder=chosen)
        found = session.run(lambda faces: app.set_embedder(faces, bank, settings), embedder=chosen)
    if session.json:
        print_document({"bank": document(found)})
    else:
        session.screen.out.print(f"bank {visible(found.bank_id)}: {vectors(found)}")


def vectors(bank: pb.Bank) -> str:
    """A bank's embedder, and how many of its memories have a vector."""
    set_to, stats = bank.settings.embedder, bank.stats
    if set_to.kind == pb.EMBEDDER_KIND_NONE:
        return "no embedder, searched by words"
    kind = enum_name(pb.EmbedderKind.DESCRIPTOR, set_to.kind or pb.EMBEDDER_KIND_BUILTIN)
    name = f" {visible(set_to.id)} ({set_to.dimensions} numbers)" if set_to.id else ""
    coverage = f"{stats.embedded_count:,} of {stats.embedded_count + stats.unembedded_count:,}"
    return f"{kind} embedder{name}, {coverage} memories have a vector"
