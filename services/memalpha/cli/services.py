"""`up`, `serve` and `health`: the services as processes."""

import asyncio
import os
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from memalpha import app, up
from memalpha.cli.answer import PackOption, ReaderOption
from memalpha.cli.documents import print_document
from memalpha.cli.embedder import EmbedderName
from memalpha.cli.shell import FAILED, UNREACHABLE, Session
from memalpha.cli.style import Screen, plural, visible
from memalpha.client.health import backlog

_COLOURS = {"serving": "green", "not_serving": "yellow", "unreachable": "bold red"}


class Service(StrEnum):
    """A service process."""

    MEMORY = "memory"
    POLICY = "policy"
    AGENT = "agent"


def start(
    ctx: typer.Context,
    only: Annotated[
        list[Service] | None, typer.Option(help="Start only this one; may be given again.")
    ] = None,
    policy: Annotated[
        str | None, typer.Option(help="Engine behind the policy service.", show_default=False)
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Its model: a checkpoint's folder, or an endpoint's name.", show_default=False),
    ] = None,
    adapter: Annotated[
        Path | None,
        typer.Option(help="Folder of a LoRA adapter on the model, with vllm.", show_default=False),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder of the store and of the logs.", show_default=False)
    ] = None,
    embedder: Annotated[
        EmbedderName | None, typer.Option(help="What makes vectors of new banks.", show_default=False)
    ] = None,
    reader: ReaderOption = None,
    prompt_pack: PackOption = None,
    preset: Annotated[
        str | None, typer.Option(help="Settings that belong together: default or paper.", show_default=False)
    ] = None,
) -> None:
    """Start the services and stop them together on Ctrl-C.

    Example: `memalpha up --data ./memory`

    Starts memory, policy and agent and says when all are ready.

    With --json: one line when ready, with services, seconds and data_dir.
    """
    session: Session = ctx.obj
    chosen = {"kind": str(embedder)} if embedder else None
    served = {"model": model, "adapter": adapter}
    settings = session.settings(
        policy_engine=policy,
        policy={name: value for name, value in served.items() if value} or None,
        data_dir=data,
        embedder=chosen,
        reader_address=reader,
        prompt_pack=prompt_pack,
        preset=preset,
    )
    raise typer.Exit(up.run(settings, only=[str(name) for name in only or ()], json_output=session.json))


def serve(ctx: typer.Context, service: Service) -> None:
    """Be one service, in the foreground, until told to stop.

    Example: `memalpha serve memory`
    """
    session: Session = ctx.obj
    run = {Service.MEMORY: app.run_memory, Service.POLICY: app.run_policy, Service.AGENT: app.run_agent}[
        service
    ]
    raise typer.Exit(run(session.settings()))


def health(ctx: typer.Context) -> None:
    """Tell whether the services serve, and how much is pending or parked.

    Example: `memalpha health`

    Ends with 1 if a service is not serving, and with 3 if one cannot be reached.

    With --json: services, each with name, address, status (serving, not_serving or unreachable) and
    detail.
    """
    session: Session = ctx.obj
    found = session.run(_embedded_health) if session.embedded else asyncio.run(app.health(session.settings()))
    if session.json:
        print_document({"services": [asdict(service) for service in found]})
    else:
        for service in found:
            _print_health(session.screen, service)
    statuses = {service.status for service in found}
    raise typer.Exit(UNREACHABLE if "unreachable" in statuses else FAILED if "not_serving" in statuses else 0)


async def _embedded_health(faces: app.Faces) -> list[app.ServiceHealth]:
    """An embedded store that opens is healthy."""
    detail = await backlog(faces.memory)
    return [app.ServiceHealth("memory", f"embedded, process {os.getpid()}", "serving", detail)]


def _print_health(screen: Screen, service: app.ServiceHealth) -> None:
    status = Text(service.status.replace("_", " "), style=_COLOURS[service.status])
    screen.out.print(Text.assemble(f"{service.name:<8}", status, f"  {visible(service.address)}"))
    detail = service.detail
    if "pending_chunks" in detail:
        chunks, banks = int(detail["pending_chunks"]), int(detail["pending_banks"])
        screen.out.print(f"        {plural(chunks, 'pending chunk')} in {plural(banks, 'bank')}", style="dim")
    if detail.get("parked_banks"):
        parked = plural(int(detail["parked_banks"]), "bank")
        screen.out.print(
            f"        {parked} parked: see `memalpha banks`, then `memalpha unpark`", style="red"
        )
    if detail.get("unembedded_memories"):
        memories, banks = int(detail["unembedded_memories"]), int(detail["unembedded_banks"])
        waiting = f"{plural(memories, 'memory', 'memories')} in {plural(banks, 'bank')}"
        screen.out.print(f"        {waiting} wait for vectors, searched by words till then", style="dim")
    if "policy_id" in detail:
        screen.out.print(f"        {detail['policy_id']}, engine {detail['engine']}", style="dim")
    if "error" in detail:
        screen.out.print(f"        {visible(str(detail['error']))}", style="dim")
