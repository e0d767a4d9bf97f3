"""`history`: every chunk, what the policy made of it, and what each operation changed.

Events come oldest first, as the bank recorded them. Chunks that arrived one after the other are one line;
the operations of one record stand under the chunk they were made from, with the memory before and after.
"""

from collections.abc import AsyncIterator
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from memalpha import app
from memalpha.api.memory.v1alpha1 import memory_pb2 as pb
from memalpha.cli.documents import document, enum_name, print_line
from memalpha.cli.shell import BankOption, Session, UsageError
from memalpha.cli.style import Screen, difference, indented, label, one_line, short_id, type_name, visible
from memalpha.errors import NotFoundError, make

_MOST = 2**64 - 1
_REASONS = pb.OperationError.Reason.DESCRIPTOR


def history(
    ctx: typer.Context,
    bank: BankOption,
    memory: Annotated[int | None, typer.Option(help="Only this memory; 0 is core memory.")] = None,
    chunk: Annotated[int | None, typer.Option(help="Only the chunk at this position.")] = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="Also print what the policy wrote, word for word.")
    ] = False,
) -> None:
    """Show how a bank came to be: chunk by chunk, each operation with before and after.

    Example: `memalpha history --bank demo --chunk 3 --raw`

    With --json: one event per line, each with revision, index, time and one of bank_created,
    chunk_appended, operation_applied, cursor_moved, chunk_failed, chunk_retried.
    """
    session: Session = ctx.obj
    _check_number("--memory", memory)
    _check_number("--chunk", chunk)

    async def work(faces: app.Faces) -> None:
        events = _found(faces.memory.events(bank, memory, chunk), bank, memory, chunk)
        if session.json:
            async for event in events:
                print_line(document(event))
        else:
            await print_events(session.screen, events, raw=raw)

    session.run(work)


def _check_number(option: str, value: int | None) -> None:
    if value is not None and not 0 <= value <= _MOST:
        raise UsageError(f"{option} must be between 0 and {_MOST}, got {value}")


async def _found(
    events: AsyncIterator[pb.BankEvent], bank: str, memory: int | None, chunk: int | None
) -> AsyncIterator[pb.BankEvent]:
    """Passes events on. What is not in the history is not in the bank, but for core memory, always there."""
    found = memory == 0
    async for event in events:
        found = True
        yield event
    if not found and (memory is not None or chunk is not None):
        wanted = {"memory": memory, "chunk": chunk}
        what = " and ".join(f"{name} {number}" for name, number in wanted.items() if number is not None)
        message = f"nothing in the history of bank {bank} is about {what}"
        raise make(NotFoundError, "NOT_IN_HISTORY", message, bank_id=bank, what=what)


async def print_events(screen: Screen, events: AsyncIterator[pb.BankEvent], *, raw: bool) -> None:
    """Prints events for a person."""
    teller = _Teller(screen, raw=raw)
    async for event in events:
        teller.tell(event)
    teller.close()
    if not teller.told:
        screen.out.print("nothing happened")


def print_change(out: Console, applied: pb.OperationApplied) -> None:
    """Prints what an operation changed: the memory, before and after."""
    memory = applied.result.memory
    kind = applied.operation.WhichOneof("operation")
    cut = " (cut at the core limit)" if applied.result.truncated else ""
    if kind == "insert" or (kind == "update" and not applied.before.content):
        _print_memory(out, "+", memory, Text(_dated(memory) + cut), "green")
    elif kind == "delete":
        _print_memory(out, "-", memory, Text(_dated(memory)), "red")
    else:
        before, after = difference(_dated(applied.before), _dated(memory) + cut)
        _print_memory(out, "~", memory, Text(), "yellow")
        out.print(Text("     - ", "red") + before)
        out.print(Text("     + ", "green") + after)


def print_refused(out: Console, applied: pb.OperationApplied) -> None:
    """Prints an operation that changed nothing, and why."""
    error = applied.result.error
    reason = enum_name(_REASONS, error.reason).removeprefix("reason_")
    out.print(f"   x {_attempt(applied.operation)}", style="red")
    out.print(f"     {reason}: {one_line(error.message, 300)}", style="red")


def _print_memory(out: Console, mark: str, memory: pb.Memory, content: Text, style: str) -> None:
    out.print(Text.assemble((f"   {mark} ", style), label(memory)), content, sep="  ")


class _Teller:
    """Remembers what the next line depends on: chunks not yet named, and whose operations are told."""

    def __init__(self, screen: Screen, *, raw: bool) -> None:
        self._out = screen.out
        self._raw = raw
        self._texts: dict[int, str] = {}
        self._arrived: list[pb.Chunk] = []
        self._told_revision = 0
        self.told = False

    def tell(self, event: pb.BankEvent) -> None:
        """Prints an event, or keeps a chunk that arrived for the line of its run."""
        self.told = True
        kind = event.WhichOneof("event")
        if kind == "chunk_appended":
            self._arrived.append(event.chunk_appended.chunk)
            self._texts[event.chunk_appended.chunk.position] = one_line(event.chunk_appended.chunk.text, 100)
            return
        self.close()
        if kind == "bank_created":
            self._head(event, "bank created")
        elif kind == "operation_applied":
            self._operation(event, event.operation_applied)
        elif kind == "cursor_moved":
            self._moved(event, event.cursor_moved)
        elif kind == "chunk_failed":
            self._failed(event, event.chunk_failed)
        elif kind == "chunk_retried":
            self._head(event, f"chunk {event.chunk_retried.position} released for another try")

    def close(self) -> None:
        """Prints the line of the chunks that arrived last."""
        if not self._arrived:
            return
        first, last = self._arrived[0], self._arrived[-1]
        which = f"chunk {first.position}" if first is last else f"chunks {first.position} to {last.position}"
        source = f" from {visible(first.source)}" if first.source else ""
        self._out.print(f"{which} arrived{source}", style="bold")
        self._arrived = []

    def _head(self, event: pb.BankEvent, what: str) -> None:
        if event.revision != self._told_revision:
            self._told_revision = event.revision
            when = event.time.ToJsonString()[:19].replace("T", " ")
            self._out.print(Text.assemble((what, "bold"), (f"  revision {event.revision}, {when}", "dim")))

    def _chunk_head(self, event: pb.BankEvent, position: int, chunk_id: str, writer: pb.Writer) -> None:
        by = f" memorized by {visible(writer.policy_id)}" if writer.policy_id else ""
        self._head(event, f"chunk {position} ({short_id(chunk_id)}){by}")
        if text := self._texts.pop(position, ""):
            self._out.print(f"   “{text}”", style="dim")

    def _operation(self, event: pb.BankEvent, applied: pb.OperationApplied) -> None:
        origin = applied.provenance
        if origin.HasField("chunk_position"):
            self._chunk_head(event, origin.chunk_position, origin.chunk_id, origin.writer)
        else:
            self._head(event, f"edit by {visible(origin.writer.policy_id)}")
        if applied.result.HasField("error"):
            print_refused(self._out, applied)
        else:
            print_change(self._out, applied)

    def _moved(self, event: pb.BankEvent, moved: pb.CursorMoved) -> None:
        self._chunk_head(event, moved.from_position, moved.chunk_id, moved.writer)
        if moved.skipped:
            self._out.print("   skipped by a person", style="yellow")
        self._print_raw(moved.raw_output)

    def _failed(self, event: pb.BankEvent, failed: pb.ChunkFailed) -> None:
        self._head(event, f"chunk {failed.position} ({short_id(failed.chunk_id)}) failed")
        state = "parked" if failed.failures.parked else f"failure {failed.failures.count}"
        self._out.print(f"   {state}: {one_line(failed.failures.message, 300)}", style="red")
        self._print_raw(failed.raw_output)

    def _print_raw(self, output: pb.RawOutput) -> None:
        if not self._raw or not output.size_bytes:
            return
        left_out = output.size_bytes - len(output.text.encode())
        self._out.print("   the policy wrote:", style="dim")
        self._out.print(indented(output.text, 5), style="dim")
        if left_out:
            self._out.print(f"     … and {left_out:,} bytes more", style="dim")


def _dated(memory: pb.Memory) -> str:
    content = one_line(memory.content, 2000)
    return f"{visible(memory.event_time)} {content}" if memory.event_time else content


def _attempt(operation: pb.Operation) -> str:
    kind = operation.WhichOneof("operation")
    if kind == "rejected":
        return one_line(operation.rejected.text, 300)
    if kind == "insert":
        return f"insert {type_name(operation.insert.type)}: {one_line(operation.insert.content, 300)}"
    if kind == "update":
        return f"update {type_name(operation.update.type)} #{operation.update.memory_id}: " + one_line(
            operation.update.content, 300
        )
    return f"delete {type_name(operation.delete.type)} #{operation.delete.memory_id}"
