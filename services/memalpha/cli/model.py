"""`model`: checkpoints for the policy service."""

from pathlib import Path
from typing import Annotated

import typer

from memalpha import app
from memalpha.agent import packs, wire
from memalpha.cli.documents import print_document
from memalpha.cli.shell import Session
from memalpha.cli.style import visible
from memalpha.config import Settings
from memalpha.policy.checkpoint import Training
from memalpha.policy.tiny.make import Shape, tiny

commands = typer.Typer(help="Make checkpoints for the policy service.", no_args_is_help=True)
_SHAPE = Shape()


@commands.command("tiny")
def make_tiny(
    ctx: typer.Context,
    out: Annotated[Path, typer.Argument(help="Folder of the checkpoint; must be empty.", show_default=False)],
    tied: Annotated[bool, typer.Option(help="Use the embedding as output head.")] = _SHAPE.tied,
    layers: Annotated[int, typer.Option(help="Decoder layers.")] = _SHAPE.layers,
    hidden: Annotated[int, typer.Option(help="Size of a token's state.")] = _SHAPE.hidden,
    vocab: Annotated[int, typer.Option(help="Tokens that the tokenizer knows.")] = _SHAPE.vocabulary,
    context: Annotated[int, typer.Option(help="Most tokens of a sequence.")] = _SHAPE.context,
    seed: Annotated[int, typer.Option(help="Of weights and tokenizer.")] = _SHAPE.seed,
) -> None:
    """Make a tiny untrained model of the Qwen3 architecture, with a tokenizer of its own.

    Example: `memalpha model tiny ./tiny --layers 2`

    It writes nonsense until it is trained. Wire format, prompt pack and view are those of the settings; the
    checkpoint is bound to them, and served with no others. The same options give the same bytes.

    With --json: path, files, tokenizer_digest and trained_with.
    """
    session: Session = ctx.obj
    shape = Shape(layers=layers, hidden=hidden, vocabulary=vocab, context=context, tied=tied, seed=seed)
    manifest = tiny(out, shape, training(session.settings()))
    if session.json:
        print_document({"path": str(out), **manifest.model_dump()})
        return
    session.screen.out.print(f"{visible(str(out))}: serve it with", style="bold")
    session.screen.out.print(visible(f"memalpha up --policy transformers --model {out}"))


def training(settings: Settings) -> Training:
    """What a model is trained with under these settings."""
    agent = app.agent_settings(settings)
    return Training(
        prompt_digest=packs.load(agent.prompt_pack).digest(wire.get(settings.wire_format)),
        wire_format=settings.wire_format,
        view=agent.view_name,
        core_token_limit=agent.core_tokens,
    )
