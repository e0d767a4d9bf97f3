"""`banks`, `show` and `unpark`: what there is, and the few things a person decides about it."""

import sys
from typing import Annotated

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from memalpha import app
from memalpha.api.memory.v1alpha1 import memory_pb2 as pb
from memalpha.api.memory.v1alpha1 import memory_service_pb2 as service_pb
from memalpha.cli.documents import document, print_document
from memalpha.cli.embedder import vectors
from memalpha.cli.shell import BankArgument, BankOption, Session, UsageError
from memalpha.cli.style import Screen, TypeName, date, indented, label, one_line, plural, visible

commands = typer.Typer(invoke_without_command=True)


@commands.callback()
def banks(ctx: typer.Context) -> None:
    """List banks.

    Example: `memalpha banks`

    With --json: banks, each with bank_id, bank_uid, settings, revision, cursor, stats, failures (if any),
    create_time, update_time.
    """
    if ctx.invoked_subcommand is not None:
        return
    session: Session = ctx.obj
    found = session.run(_all_banks)
    if session.json:
        print_document({"banks": [document(bank) for bank in found]})
    elif found:
        session.screen.out.print(_table(found))
    else:
        session.screen.out.print("no banks yet; `memalpha memorize FILE --bank NAME` makes one")


@commands.command()
def delete(
    ctx: typer.Context,
    bank: BankArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete a bank and all that is in it.

    Example: `memalpha banks delete demo --yes`

    With --json: deleted, the bank as it was.
    """
    session: Session = ctx.obj
    found = session.run(lambda faces: faces.memory.get_bank(bank))
    if not yes:
        _confirm(found)
    session.run(lambda faces: faces.memory.delete_bank(bank, found.bank_uid))
    if session.json:
        print_document({"deleted": document(found)})
    else:
        session.screen.out.print(f"deleted bank {bank}: {_contents(found)}")


def show(
    ctx: typer.Context,
    bank: BankOption,
    type: Annotated[TypeName | None, typer.Option(help="Only this type.", show_default=False)] = None,
) -> None:
    """Show what a bank has kept: core memory, counts and tokens, its embedder, and every memory.

    Example: `memalpha show --bank demo --type semantic`

    With --json: bank, memories.
    """
    session: Session = ctx.obj

    async def work(faces: app.Faces) -> tuple[pb.Bank, list[pb.Memory]]:
        found = await faces.memory.get_bank(bank)
        wanted = type.number if type else None
        return found, [memory async for memory in faces.memory.memories(bank, wanted)]

    found, memories = session.run(work)
    if session.json:
        print_document({"bank": document(found), "memories": [document(memory) for memory in memories]})
        return
    print_counts(session.screen, found)
    print_memories(session.screen, memories)


def unpark(
    ctx: typer.Context,
    bank: BankArgument,
    retry: Annotated[bool, typer.Option("--retry", help="Try the chunk again from the start.")] = False,
    skip: Annotated[
        bool, typer.Option("--skip", help="Leave it unmemorized and go on; its text is kept.")
    ] = False,
) -> None:
    """Release a bank that waits because a chunk failed too often.

    Example: `memalpha unpark demo --skip`

    With --json: bank.
    """
    if retry == skip:
        raise UsageError("unpark needs one of --retry and --skip")
    action = service_pb.PARKED_CHUNK_ACTION_RETRY if retry else service_pb.PARKED_CHUNK_ACTION_SKIP
    session: Session = ctx.obj
    found = session.run(lambda faces: faces.memory.resolve_parked_chunk(bank, action))
    if session.json:
        print_document({"bank": document(found)})
    else:
        verb = "will be tried again" if retry else "was skipped"
        session.screen.out.print(f"bank {bank}: the chunk {verb}; {_pending(found)}")


def print_counts(screen: Screen, bank: pb.Bank) -> None:
    """Prints the sizes of a bank."""
    stats = bank.stats
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(justify="left")
    table.add_column(justify="right")
    table.add_column(justify="right")
    table.add_row(Text("core", "magenta"), "", plural(stats.core_tokens, "token"))
    table.add_row(
        Text("semantic", "cyan"), f"{stats.semantic_count:,}", plural(stats.semantic_tokens, "token")
    )
    table.add_row(
        Text("episodic", "yellow"), f"{stats.episodic_count:,}", plural(stats.episodic_tokens, "token")
    )
    table.add_row("chunks", f"{stats.chunk_count:,}", plural(stats.chunk_tokens, "token"))
    screen.out.print(f"bank {visible(bank.bank_id)}: {_pending(bank)}", style="bold")
    screen.out.print(table)
    screen.out.print(vectors(bank), style="dim")


def print_memories(screen: Screen, memories: list[pb.Memory]) -> None:
    """Prints memories, core memory as a block, the others a line each."""
    for memory in memories:
        if memory.type == pb.MEMORY_TYPE_CORE:
            if memory.content:
                screen.out.print(label(memory))
                screen.out.print(indented(memory.content, 3))
            continue
        when = f"{visible(date(memory.event_time))} " if memory.event_time else ""
        screen.out.print(label(memory), Text(f"{when}{one_line(memory.content, 400)}"), sep="  ")


async def _all_banks(faces: app.Faces) -> list[pb.Bank]:
    return [bank async for bank in faces.memory.banks()]


def _table(found: list[pb.Bank]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("bank", no_wrap=True, overflow="fold")
    for column in ("memories", "chunks", "pending"):
        table.add_column(column, justify="right")
    table.add_column("parked")
    table.add_column("updated", no_wrap=True)
    for bank in found:
        stats = bank.stats
        table.add_row(
            visible(bank.bank_id),
            f"{stats.semantic_count + stats.episodic_count:,}",
            f"{stats.chunk_count:,}",
            f"{stats.pending_chunks:,}",
            Text(f"chunk {bank.cursor}", "bold red") if bank.failures.parked else "",
            bank.update_time.ToJsonString()[:16],
        )
    return table


def _pending(bank: pb.Bank) -> str:
    if bank.failures.parked:
        return (
            f"parked at chunk {bank.cursor}, which failed {plural(bank.failures.count, 'time')}: "
            + one_line(bank.failures.message)
        )
    return (
        f"{plural(bank.stats.pending_chunks, 'chunk')} pending"
        if bank.stats.pending_chunks
        else "all memorized"
    )


def _contents(bank: pb.Bank) -> str:
    memories = bank.stats.semantic_count + bank.stats.episodic_count
    return f"{plural(memories, 'memory', 'memories')} and {plural(bank.stats.chunk_count, 'chunk')}"


def _confirm(bank: pb.Bank) -> None:
    if not sys.stdin.isatty():
        raise UsageError(f"deleting bank {bank.bank_id} cannot be undone: pass --yes")
    typer.confirm(f"Delete bank {bank.bank_id} with {_contents(bank)} for ever?", abort=True, err=True)
