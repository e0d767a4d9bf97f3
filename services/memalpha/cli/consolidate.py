"""`consolidate`: a bank's memories are put in order, and every change is on the screen as it is made.

A dry run prints the same and writes nothing. Whatever ends it early, Ctrl-C too, leaves whole pieces done,
and the screen says from where to go on.
"""

from collections import Counter
from contextlib import aclosing
from typing import Annotated

import typer

from memalpha import app
from memalpha.agent import checks
from memalpha.api.agent.v1alpha1 import agent_service_pb2 as agent_pb
from memalpha.cli.documents import document, print_line
from memalpha.cli.history import print_change, print_refused
from memalpha.cli.progress import Board
from memalpha.cli.shell import BankArgument, Session, UsageError
from memalpha.cli.style import Screen, one_line, plural, visible
from memalpha.errors import MemalphaError

_DONE = {"insert": "added", "update": "changed", "delete": "removed"}
_MOST = 2**64 - 1


def consolidate(
    ctx: typer.Context,
    bank: BankArgument,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Write nothing; show what would change.")
    ] = False,
    max_pieces: Annotated[
        int, typer.Option(help="At most this many pieces of related memories, 1 to 10000.")
    ] = 100,
    start: Annotated[int, typer.Option("--from", help="Go on with the memory of this number.")] = 0,
) -> None:
    """Put a bank's memories in order: merge what says the same, drop what no longer holds.

    Example: `memalpha consolidate demo --dry-run`

    Works in pieces of related memories, each changed as a whole or not at all. The policy decides; one that
    is no model only removes repetitions and older values. What is removed stays in `memalpha history`.

    With --json: one piece per line, each with changes (operation, result, before), refused, memory_ids,
    pieces_done, pieces_total, next_memory_id, revision, policy, usage, prompt_digest.
    """
    session: Session = ctx.obj
    checks.most_pieces(max_pieces)
    if not 0 <= start <= _MOST:
        raise UsageError(f"--from must be between 0 and {_MOST}, got {start}")
    request = agent_pb.ConsolidateRequest(
        bank_id=bank, dry_run=dry_run, max_pieces=max_pieces, start_memory_id=start
    )
    told = _Told(session.screen)

    async def work(faces: app.Faces) -> None:
        with Board(session.screen) as board:
            async with aclosing(faces.agent.consolidate(request)) as pieces:
                async for piece in pieces:
                    if session.json:
                        print_line(document(piece))
                    else:
                        told.piece(piece)
                    board.show("pieces", piece.pieces_done, piece.pieces_total)

    try:
        session.run(work)
    except (KeyboardInterrupt, MemalphaError):
        told.place()
        raise
    if not session.json:
        told.summary(bank, dry_run=dry_run)


class _Told:
    """Prints pieces, and counts what they come to."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._pieces = 0
        self._left = 0
        self._counts: Counter[str] = Counter()
        self._next = 0

    def piece(self, piece: agent_pb.ConsolidateResponse) -> None:
        """Prints what became of one piece; nothing if nothing was asked for."""
        self._pieces, self._next = piece.pieces_done, piece.next_memory_id
        out = self._screen.out
        if piece.changes or piece.refused:
            shown = plural(len(piece.memory_ids), "memory", "memories")
            out.print(f"piece {piece.pieces_done} of {piece.pieces_total}: {shown}", style="bold")
        for change in piece.changes:
            if piece.refused:
                print_refused(out, change)
            else:
                print_change(out, change)
                self._counts[change.operation.WhichOneof("operation") or ""] += 1
        if piece.refused:
            self._left += 1
            out.print(f"   left as it is: {one_line(piece.refused, 300)}", style="yellow")

    def summary(self, bank: str, *, dry_run: bool) -> None:
        """Prints what was done in all, or would be, and what is left."""
        counts = [f"{self._counts[kind]:,} {done}" for kind, done in _DONE.items() if self._counts[kind]]
        done = ", ".join(counts) or "nothing to change"
        verb = "would be: " if dry_run and counts else ""
        pieces = f"{plural(self._pieces, 'piece')} looked at"
        self._screen.out.print(f"bank {visible(bank)}: {pieces}; {verb}{done}")
        if self._left:
            self._screen.out.print(f"{plural(self._left, 'piece')} left as before", style="yellow")
        if dry_run:
            self._screen.err.print("dry run: nothing was written", style="dim")
        self.place()

    def place(self) -> None:
        """Says where to go on, if something is left."""
        if self._next:
            self._screen.err.print(f"more is left: go on with --from {self._next}", style="dim")
