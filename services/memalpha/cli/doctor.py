"""`doctor`: whether a model can be served here."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from memalpha.cli.documents import print_document
from memalpha.cli.shell import FAILED, Session, UsageError
from memalpha.cli.style import visible
from memalpha.up.doctor import examined

_COLOURS = {"ok": "green", "note": "yellow", "bad": "bold red"}


def doctor(
    ctx: typer.Context,
    model: Annotated[str, typer.Option(help="The checkpoint's folder.", show_default=False)],
    policy: Annotated[str, typer.Option(help="The engine: vllm.")] = "vllm",
    adapter: Annotated[
        Path | None, typer.Option(help="Folder of a LoRA adapter on the model.", show_default=False)
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="For another machine: what this one lacks is no fault.")
    ] = False,
) -> None:
    """Tell whether a model can be served here: libraries, drivers, files, memory, words.

    Example: `memalpha doctor --policy vllm --model ./Qwen3-4B`

    Loads no model. Ends with 1 if something is in the way.

    With --json: findings, each with name, state (ok, note or bad) and text.
    """
    if policy != "vllm":
        raise UsageError(f"--policy must be vllm, which is all that doctor looks at; it is {policy!r}")
    session: Session = ctx.obj
    served = {"model": model} | ({"adapter": adapter} if adapter else {})
    settings = session.settings(policy_engine=policy, policy=served)
    found = examined(settings, dry_run=dry_run)
    if session.json:
        print_document({"findings": [asdict(each) for each in found]})
    else:
        for each in found:
            state = Text(f"{each.state:<4}", style=_COLOURS[each.state])
            session.screen.out.print(Text.assemble(state, f"  {each.name:<13}  ", visible(each.text)))
    raise typer.Exit(FAILED if any(each.state == "bad" for each in found) else 0)
