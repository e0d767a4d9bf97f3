"""The command `first-look`: recall of a running service, question by question."""

from pathlib import Path
from typing import Annotated

import typer

from memalpha.client import AgentClient
from memalpha.config import load
from memalpha_evals.datasets import DatasetError, locomo
from memalpha_evals.retrieval.first_look import look, markdown


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("first-look")(first_look)


def first_look(
    data: Annotated[Path, typer.Option(help="The LoCoMo file that the bank was memorized from.")],
    conversation: Annotated[str, typer.Option(help="The conversation's sample_id.")],
    bank: Annotated[str, typer.Option(help="The bank it was memorized into, through the running services.")],
    words: Annotated[bool, typer.Option(help="Show the data set's texts too.")] = False,
) -> None:
    """What recall gives for the first question of each LoCoMo category, hits and misses alike.

    Example: memalpha memorize locomo10.json --conversation conv-26 --bank look, then
    evals first-look --data locomo10.json --conversation conv-26 --bank look
    """
    conversations = {one.id: one for one in locomo.read(data).conversations}
    if conversation not in conversations:
        known = ", ".join(conversations)
        raise DatasetError(f"{data.name} has no conversation {conversation!r}; it has {known}")
    one = conversations[conversation]
    with AgentClient.connect(load().agent_address) as agent:
        print(markdown(one, look(one, agent, bank), words=words))
