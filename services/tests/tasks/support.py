"""Short ways to build what the tests of tasks need."""

from collections.abc import Sequence

import memcore
from memalpha.agent.prompts import PromptItem, PromptView
from memalpha.tasks import Instance
from memalpha.tasks.ledger import Answer, Reader, write
from memalpha.tasks.ledger.context import Context
from memalpha.tasks.ledger.memory import View, agent_settings
from memalpha.tasks.scoring import score
from memalpha.tasks.writers import ScriptedPolicy, Writer


def view(
    chunk: str, *, semantic: Sequence[str] = (), episodic: Sequence[tuple[str, str]] = (), core: str = ""
) -> PromptView:
    """A prompt; memories get the aliases a, b … in order, semantic ones first."""
    names = iter("abcdefgh")
    return PromptView(
        core=core,
        core_limit=32,
        semantic=[PromptItem(next(names), "", text) for text in semantic],
        episodic=[PromptItem(next(names), time, text) for time, text in episodic],
        chunk=chunk,
        chunk_time="2024-05-01",
        chunk_source="",
    )


async def contexts(
    writer: Writer, instance: Instance, asked: Instance | None = None, shown: View = "relevant"
) -> list[Context]:
    """What a reader gets for the questions of `asked` from the memory of `instance`."""
    with memcore.Store.in_memory() as store:
        written = await write(store, instance, ScriptedPolicy("test", writer), agent_settings(view=shown))
        return await written.contexts([each.question for each in (asked or instance).questions])


def answered(reader: Reader, instance: Instance, texts: Sequence[str]) -> list[Answer]:
    pairs = zip(instance.questions, texts, strict=True)
    return [reader.answer(question.question, text) for question, text in pairs]


def accuracy(reader: Reader, instance: Instance, texts: Sequence[str]) -> float:
    answers = answered(reader, instance, texts)
    points = [
        score(question.metric, answer.text, question.answers)
        for question, answer in zip(instance.questions, answers, strict=True)
    ]
    return sum(points) / len(points)
