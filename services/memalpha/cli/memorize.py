"""`memorize`: a file's chunks are stored durably, in order, and then memorized.

Storing and memorizing are two things. A chunk counts as stored once the memory acknowledged it, and nothing
that happens later takes that back: stop the command, or lose a service, and the same command goes on where
it was. What it waits for at the end is the agent, which works off what is pending.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import typer

from memalpha import app
from memalpha.agent.chunking import batches, pack
from memalpha.api.memory.v1alpha1 import memory_pb2 as pb
from memalpha.cli.documents import print_document
from memalpha.cli.patience import Patience
from memalpha.cli.progress import Board
from memalpha.cli.shell import FAILED, BankOption, Session, UsageError
from memalpha.cli.style import Screen, one_line, plural, visible
from memalpha.config import Settings
from memalpha.errors import ConflictError, UnavailableError, make
from memalpha.sources import Format, Turn, read

_BATCH_CHUNKS = 200
_BATCH_BYTES = 4 * 1024 * 1024
_POLL_SECONDS = 0.1
_STALL_SECONDS = 5.0
_SILENCE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Job:
    """A file that is ready to be stored."""

    bank_id: str
    source: str
    turns: int
    chunks: Sequence[pb.Chunk]


@dataclass(frozen=True, slots=True)
class Stored:
    """Where a job's chunks are, and what the bank was before them."""

    before: pb.Bank
    positions: Sequence[int]

    @property
    def new(self) -> int:
        """How many chunks the bank did not have before."""
        return len({position for position in self.positions if position >= self.before.stats.chunk_count})

    def memorized(self, bank: pb.Bank) -> int:
        """How many of the chunks a later state of the bank has memorized."""
        return sum(position < bank.cursor for position in self.positions)


def memorize(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(help="What to read; - is standard input.", show_default=False)],
    bank: BankOption,
    format: Annotated[Format, typer.Option(help="How to read it.")] = Format.AUTO,
    speaker: Annotated[str, typer.Option(help="Who speaks, where the file does not say.")] = "",
    time: Annotated[str, typer.Option(help="When, where the file does not say: 2023-05-08T13:56.")] = "",
    conversation: Annotated[str, typer.Option(help="Which conversation of a LoCoMo file.")] = "",
    wait: Annotated[bool, typer.Option(help="Wait until everything is memorized.")] = True,
    retry_for: Annotated[float, typer.Option(help="Seconds to keep trying while a service is away.")] = 60.0,
) -> None:
    """Store a file durably and memorize it.

    Example: `memalpha memorize chat.json --bank demo`

    Reads plain text, Markdown, chats (JSON or JSON lines of messages with role and content) and LoCoMo
    JSON. Running it again stores nothing twice; a file that grew at its end adds only what is new. JSON:
    bank_id, source, turns, chunks, stored, already_stored, memorized, pending_chunks, parked.
    """
    if not retry_for >= 0:
        raise UsageError(f"--retry-for must be 0 or more seconds, got {retry_for:g}")
    session: Session = ctx.obj
    settings = session.settings()
    with session.screen.err.status("reading"):
        turns = read(file, format, speaker=speaker, time=time, conversation=conversation)
        job = prepare(turns, bank, settings.chunk_tokens)

    async def work(faces: app.Faces) -> tuple[Stored, pb.Bank]:
        with Board(session.screen) as board:
            patience = Patience(retry_for, board.note)
            stored = await store(job, faces.memory, settings, patience, board)
            if not wait:
                return stored, await patience(lambda: faces.memory.get_bank(bank))
            return stored, await until_memorized(stored, faces, settings, patience, board)

    stored, after = session.run(work, create=True)
    if session.json:
        print_document(_document(job, stored, after))
    else:
        _print_summary(session.screen, job, stored, after)
    if after.failures.parked and stored.memorized(after) < len(job.chunks):
        raise typer.Exit(FAILED)


def prepare(turns: Sequence[Turn], bank_id: str, max_tokens: int) -> Job:
    """Packs turns into chunks."""
    return Job(bank_id, turns[0].source, len(turns), list(pack(turns, max_tokens=max_tokens)))


async def store(job: Job, memory: app.Memory, settings: Settings, patience: Patience, board: Board) -> Stored:
    """Stores a job's chunks durably and in order; what the bank has already is not stored twice."""
    bank = await patience(lambda: app.ensure_bank(memory, job.bank_id, settings))
    positions: list[int] = []
    for batch in batches(job.chunks, most=_BATCH_CHUNKS, most_bytes=_BATCH_BYTES):
        board.show("stored", len(positions), len(job.chunks))
        reply = await patience(lambda batch=batch: memory.append_chunks(job.bank_id, batch, bank.bank_uid))
        positions += [result.position for result in reply.results]
    board.show("stored", len(positions), len(job.chunks))
    return Stored(bank, positions)


async def until_memorized(
    stored: Stored, faces: app.Faces, settings: Settings, patience: Patience, board: Board
) -> pb.Bank:
    """Returns the bank once the chunks are memorized, or the bank is parked."""
    bank_id, total = stored.before.bank_id, len(stored.positions)
    if isinstance(faces, app.Embedded):
        await _work_off(stored, faces, board)
    cursor, moved, asked = -1, time.monotonic(), time.monotonic()
    while True:
        bank = await patience(lambda: faces.memory.get_bank(bank_id))
        if bank.bank_uid != stored.before.bank_uid:
            raise make(
                ConflictError, "BANK_REPLACED", f"bank {bank_id} was deleted and created again meanwhile"
            )
        board.show("memorized", stored.memorized(bank), total)
        if bank.failures.parked or stored.memorized(bank) == total:
            return bank
        now = time.monotonic()
        if bank.cursor != cursor:
            cursor, moved, asked = bank.cursor, now, now
        elif now - asked > _STALL_SECONDS:
            await patience(lambda: _expect_services(settings))
            asked = now
            if now - moved > _SILENCE_SECONDS:
                board.note(
                    f"no chunk memorized for {now - moved:.0f} s; the agent's log tells what it waits for"
                )
        await asyncio.sleep(_POLL_SECONDS)


async def _work_off(stored: Stored, faces: app.Embedded, board: Board) -> None:
    """Without services there is no worker: this process memorizes what is pending."""
    bank_id = stored.before.bank_id
    board.show("memorized", 0, len(stored.positions))
    async for _ in faces.agent.memorize_pending(bank_id):
        board.show("memorized", stored.memorized(await faces.memory.get_bank(bank_id)), len(stored.positions))


async def _expect_services(settings: Settings) -> None:
    for service in await app.health(settings):
        if service.status != "serving":
            state = f"the {service.name} service at {service.address} is {service.status.replace('_', ' ')}"
            message = f"{state}; what is stored stays stored, and pending until it serves"
            raise make(UnavailableError, "SERVICE_AWAY", message)


def _document(job: Job, stored: Stored, after: pb.Bank) -> dict[str, str | int | bool]:
    return {
        "bank_id": job.bank_id,
        "source": job.source,
        "turns": job.turns,
        "chunks": len(job.chunks),
        "stored": stored.new,
        "already_stored": len(job.chunks) - stored.new,
        "memorized": stored.memorized(after),
        "pending_chunks": after.stats.pending_chunks,
        "parked": after.failures.parked,
    }


def _print_summary(screen: Screen, job: Job, stored: Stored, after: pb.Bank) -> None:
    out, total, memorized = screen.out, len(job.chunks), stored.memorized(after)
    already = f"{total - stored.new:,} already stored" if stored.new < total else ""
    new = f"{stored.new:,} new" if stored.new else ""
    counts = ", ".join(filter(None, [new, already, f"{memorized:,} memorized"]))
    out.print(f"{visible(job.source)}: {plural(job.turns, 'turn')} in {plural(total, 'chunk')}: {counts}")
    stats, old = after.stats, stored.before.stats
    out.print(
        f"bank {after.bank_id}: core {plural(stats.core_tokens, 'token')}"
        f", {stats.semantic_count:,} semantic ({stats.semantic_count - old.semantic_count:+,})"
        f", {stats.episodic_count:,} episodic ({stats.episodic_count - old.episodic_count:+,})"
    )
    if after.failures.parked:
        failures = f"{plural(after.failures.count, 'failure')}: {one_line(after.failures.message)}"
        out.print(f"chunk {after.cursor} is parked after {failures}", style="red")
        out.print(f"go on with `memalpha unpark {after.bank_id} --retry` or `--skip`")
    elif memorized < total:
        out.print(f"{plural(total - memorized, 'chunk')} pending: stored and recallable, memorized later")
