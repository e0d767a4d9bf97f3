"""`recall`: what a bank knows about a question, with the place each memory comes from."""

from enum import StrEnum
from typing import Annotated

import typer
from rich.text import Text

from memalpha.agent import checks
from memalpha.api.agent.v1alpha1 import agent_service_pb2 as agent_pb
from memalpha.api.memory.v1alpha1 import memory_pb2 as pb
from memalpha.api.memory.v1alpha1 import memory_service_pb2 as service_pb
from memalpha.cli.documents import document, enum_name, print_document
from memalpha.cli.shell import BankOption, Session, utf8
from memalpha.cli.style import Screen, date, excerpt, indented, label, one_line, plural, short_id, visible


class Method(StrEnum):
    """A way to rank memories, as people write it."""

    AUTO = "auto"
    WORDS = "words"
    VECTOR = "vector"
    HYBRID = "hybrid"

    @property
    def number(self) -> service_pb.SearchMethod.ValueType:
        """The API's value."""
        name = "UNSPECIFIED" if self is Method.AUTO else self.name
        return service_pb.SearchMethod.Value(f"SEARCH_METHOD_{name}")


def recall(
    ctx: typer.Context,
    question: Annotated[str, typer.Argument(help="What to look for.", show_default=False, callback=utf8)],
    bank: BankOption,
    limit: Annotated[int, typer.Option(help="At most this many memories of each type, 1 to 1000.")] = 5,
    budget: Annotated[int, typer.Option(help="Most o200k tokens of the context block.")] = 4096,
    context: Annotated[
        bool, typer.Option("--context", help="Print only the block to put into a prompt.")
    ] = False,
    method: Annotated[Method, typer.Option(help="How to rank memories.")] = Method.AUTO,
    explain: Annotated[bool, typer.Option("--explain", help="Say each memory's ranks.")] = False,
) -> None:
    """Find what a bank knows about a question.

    Example: `memalpha recall "Which pets does Caroline have?" --bank demo --explain`

    Memories come best first, each with the chunk it was made from. What is stored but not yet memorized
    comes last, marked pending.

    With --json: core, hits (memory or pending, score, in_context, words_rank, vector_rank), context,
    context_tokens, revision, pending_chunks, sources, search_method.
    """
    session: Session = ctx.obj
    # Before they are put into a request, whose fields hold 32 bits and refuse more with words of their own.
    checks.recall_limit(limit)
    checks.recall_budget(budget)
    request = agent_pb.RecallRequest(
        bank_id=bank,
        query=question,
        limit=limit,
        token_budget=budget,
        include_sources=True,
        method=method.number,
    )
    response = session.run(lambda faces: faces.agent.recall(request))
    if session.json:
        print_document(document(response))
    elif context:
        session.screen.out.print(visible(response.context))
    else:
        print_hits(session.screen, response, question, explain=explain)


def print_hits(
    screen: Screen,
    response: agent_pb.RecallResponse,
    question: str,
    *,
    with_core: bool = True,
    explain: bool = False,
) -> None:
    """Prints core memory and the hits, best first; with `explain`, also how they were ranked."""
    if with_core and response.core.content:
        screen.out.print("core memory", style="magenta")
        screen.out.print(indented(response.core.content, 3))
    sources = {chunk.position: chunk for chunk in response.sources}
    for number, hit in enumerate(response.hits, start=1):
        if hit.HasField("memory"):
            print_memory_hit(screen, number, hit.memory, sources, question, hit.score)
            if explain:
                screen.out.print(f"     ranks: {_ranks(hit)}", style="dim")
        else:
            _print_pending_hit(screen, number, hit.pending, question, hit.score)
    if not response.hits:
        screen.out.print("nothing matches")
    if explain:
        ranked = enum_name(service_pb.SearchMethod.DESCRIPTOR, response.search_method)
        screen.err.print(f"memories ranked by {ranked}", style="dim")
    if response.pending_chunks:
        screen.err.print(f"{plural(response.pending_chunks, 'chunk')} not yet memorized", style="dim")


def _ranks(hit: agent_pb.RecallHit) -> str:
    words = hit.words_rank if hit.HasField("words_rank") else "none"
    vector = hit.vector_rank if hit.HasField("vector_rank") else "none"
    return f"words {words}, vector {vector}"


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
        by = origin.writer.policy_id
        how = "edited by hand" if by in ("", "person") else f"put in order by {visible(by)}"
        screen.out.print(f"     {how}", style="dim")
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
