"""`answer`: what a reader makes of a bank's memories, and which of them it names."""

from typing import Annotated

import typer

from memalpha.agent import checks
from memalpha.api.agent.v1alpha1 import agent_service_pb2 as agent_pb
from memalpha.api.policy.v1alpha1.policy_service_pb2 import FINISH_REASON_LENGTH
from memalpha.cli.documents import document, print_document
from memalpha.cli.shell import BankArgument, Session, UsageError, utf8
from memalpha.cli.style import Screen, excerpt, label, one_line, plural, visible

ReaderOption = Annotated[
    str | None,
    typer.Option("--reader", help="Policy that answers questions: host:port.", show_default=False),
]
PackOption = Annotated[
    str | None,
    typer.Option(help="Words of all prompts: default, short, paper, or a folder.", show_default=False),
]


def answer(
    ctx: typer.Context,
    bank: BankArgument,
    question: Annotated[str, typer.Argument(help="What to answer.", show_default=False, callback=utf8)],
    prefix: Annotated[
        str, typer.Option(help="Put before the question, not searched for.", callback=utf8)
    ] = "",
    limit: Annotated[
        int | None, typer.Option(help="At most this many memories of each type.", show_default=False)
    ] = None,
    budget: Annotated[
        int | None, typer.Option(help="Most o200k tokens of memory shown.", show_default=False)
    ] = None,
    reader: ReaderOption = None,
    prompt_pack: PackOption = None,
) -> None:
    """Have a model answer a question from what a bank knows.

    Example: `memalpha answer demo "Which pets does Caroline have?"`

    Letters in brackets in the answer stand for the memories listed below it. --reader and --prompt-pack go
    with --embedded; services have theirs from `memalpha up`.

    With --json: text, evidence (memory or pending, alias, cited), core, finish_reason, reader, usage,
    prompt_digest, revision, pending_chunks, search_method.
    """
    session: Session = ctx.obj
    if session.embedded is None and (reader or prompt_pack):
        raise UsageError("--reader and --prompt-pack go with --embedded, or with `memalpha up`")
    request = agent_pb.AnswerRequest(bank_id=bank, question=question, prefix=prefix)
    if limit is not None:
        checks.recall_limit(limit)
        request.limit = limit
    if budget is not None:
        checks.recall_budget(budget)
        request.token_budget = budget
    response = session.run(
        lambda faces: faces.agent.answer(request),
        reader_address=reader,
        prompt_pack=prompt_pack,
    )
    if session.json:
        print_document(document(response))
    else:
        _print(session.screen, response, question)


def _print(screen: Screen, response: agent_pb.AnswerResponse, question: str) -> None:
    screen.out.print(visible(response.text) or "no answer")
    for evidence in response.evidence:
        if evidence.cited:
            screen.out.print(f"  [{evidence.alias}] ", _named(evidence, question), sep="", style="dim")
    cited = sum(each.cited for each in response.evidence)
    usage = response.usage
    summary = f"{visible(response.reader.policy_id)}: {cited} of {len(response.evidence)} shown are cited"
    cost = f"{usage.prompt_tokens:,} + {usage.completion_tokens:,} tokens"
    screen.err.print(f"{summary}, {cost}", style="dim")
    if response.finish_reason == FINISH_REASON_LENGTH:
        screen.err.print("the answer was cut at its limit of tokens", style="yellow")
    if response.pending_chunks:
        screen.err.print(f"{plural(response.pending_chunks, 'chunk')} not yet memorized", style="dim")


def _named(evidence: agent_pb.Evidence, question: str) -> str:
    if evidence.HasField("pending"):
        return f"pending  {excerpt(evidence.pending.text, question, 400)}"
    memory = evidence.memory
    time = f"{visible(memory.event_time)}  " if memory.event_time else ""
    return f"{label(memory).plain}  {time}{one_line(memory.content, 400)}"
