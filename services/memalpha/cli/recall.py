"""`recall`: what a bank knows about a question, with the place each memory comes from."""

from typing import Annotated

import typer
from rich.text import Text

from memalpha.agent import checks
from memalpha.api.agent.v1alpha1 import agent_service_pb2 as agent_pb
from memalpha.api.memory.v1alpha1 import memory_pb2 as pb
from memalpha.cli.documents import document, print_document
from memalpha.cli.shell import BankOption, Session, utf8
from memalpha.cli.style import Screen, date, excerpt, indented, label, one_line, plural, short_id, visible


def recall(
    ctx: typer.Context,
    question: Annotated[str, typer.Argument(help="What to look for.", show_default=False, callback=utf8)],
    bank: BankOption,
    limit: Annotated[int, typer.Option(help="At most this many memories of each type, 1 to 1000.")] = 5,
    budget: Annotated[int, typer.Option(help="Most o200k tokens of the context block.")] = 4096,
    context: Annotated[
        bool, typer.Option("--context", help="Print only the block to put into a prompt.")
    ] = False,
) -> None:
    """Find what a bank knows about a question.

    Example: `memalpha recall "Which pets does Caroline have?" --bank demo`

    Memories come best first, each with the chunk it was made from. What is stored but not yet memorized
    comes last, marked pending.

    With --json: core, hits (memory or pending, score, in_context), context, context_tokens, revision,
    pending_chunks, sources.
    """
    session: Session = ctx.obj
    # Before they are put into a request, whose fields hold 32 bits and refuse more with words of their own.
    checks.recall_limit(limit)
    checks.recall_budget(budget)
    request = agent_pb.RecallRequest(
        bank_id=bank, query=question, limit=limit, token_budget=budget, include_sources=True
    )
    response = session.run(lambda faces: faces.agent.recall(request))
    if session.json:
        print_document(document(response))
    elif context:
        session.screen.out.print(visible(response.context))
    else:
        print_hits(session.screen, response, question)


def print_hits(
    screen: Screen, response: agent_pb.RecallResponse, question: str, *, with_core: bool = True
) -> None:
    """Prints core memory and the hits, best first."""
    if with_core and response.core.content:
        screen.out.print("core memory", style="magenta")
        screen.out.print(indented(response.core.content, 3))
    sources = {chunk.position: chunk for chunk in response.sources}
    for number, hit in enumerate(response.hits, start=1):
        if hit.HasField("memory"):
            print_memory_hit(screen, number, hit.memory, sources, question, hit.score)
        else:
            _print_pending_hit(screen, number, hit.pending, question, hit.score)
    if not response.hits:
        screen.out.print("nothing matches")
    if response.pending_chunks:
        screen.err.print(f"{plural(response.pending_chunks, 'chunk')} not yet memorized", style="dim")


def print_memory_hit(
    screen: Screen, number: int, memory: pb.Memory, sources: dict[int, pb.Chunk], question: str, score: float
) -> None:
    """Prints one memory and the line of its chunk that it is about."""
    head = Text.assemble(f"{number:>2} ", label(memory), " ", (f"{score:.2f}", "dim"))
    if memory.event_time:
        head.append(f"  {visible(date(memory.event_time))}")
    screen.out.print(head, Text(one_line(memory.content, 400)), sep="  ")
    origin = memory.provenance
    if not origin.HasField("chunk_position"):
        screen.out.print("     edited by hand", style="dim")
        return
    chunk = sources.get(origin.chunk_position)
    _print_origin(screen, origin.chunk_position, origin.chunk_id, chunk, f"{memory.content} {question}")


def _print_pending_hit(screen: Screen, number: int, chunk: pb.Chunk, question: str, score: float) -> None:
    head = Text.assemble(f"{number:>2} ", ("pending", "bold red"), " ", (f"{score:.2f}", "dim"))
    screen.out.print(head, Text(excerpt(chunk.text, question, 400)), sep="  ")
    _print_origin(screen, chunk.position, chunk.chunk_id, None, "")


def _print_origin(screen: Screen, position: int, chunk_id: str, chunk: pb.Chunk | None, about: str) -> None:
    parts = [f"chunk {position} ({short_id(chunk_id)})"]
    if chunk is not None:
        parts += [visible(part) for part in (chunk.source, chunk.event_time) if part]
        parts.append(f"“{excerpt(chunk.text, about)}”")
    screen.out.print(f"     from {', '.join(parts)}", style="dim")
