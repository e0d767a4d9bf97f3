"""Who answers the questions of a finished memory.

The ledger's readers are no models: they get the text that a model would get and nothing else, and name the
memories they used. A policy reader is a model behind a policy service, asked the way `Answer` asks; what it
cites is what it used. Where nothing that is stored decided the answer, what was deleted may have: the
ledger's readers are shown each deleted memory alone, so that a deletion can earn credit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from memalpha.agent import Agent, AgentSettings, Policy
from memalpha.api.agent.v1alpha1.agent_service_pb2 import AnswerRequest
from memalpha.api.memory.v1alpha1.memory_pb2 import Memory
from memalpha.tasks.instance import Instance, Question
from memalpha.tasks.ledger import NOT_KNOWN, Written
from memalpha.tasks.ledger.context import Context, render_context
from memalpha.tasks.ledger.reader import Reader as TextReader
from memalpha.tasks.memorized import Memorized
from memalpha.tasks.scoring import score
from memalpha_trainer.records import Answered, Source
from memalpha_trainer.rollouts.trace import CORE, Trace

_CORE_ALIAS = ""


class Reader(Protocol):
    """Answers the questions of one finished rollout. Called once for each, many at once."""

    async def answers(self, instance: Instance, done: Memorized, trace: Trace) -> tuple[Answered, ...]:
        """One answer for each question, in order.

        Raises:
            MemalphaError: The reader cannot be had; the rollout is tried again.
        """
        ...


@dataclass(frozen=True, slots=True)
class LedgerReader:
    """A deterministic reader of the ledger."""

    reader: TextReader

    async def answers(self, instance: Instance, done: Memorized, trace: Trace) -> tuple[Answered, ...]:
        """See `Reader`."""
        written = Written(done.client, done.bank, done.outcomes)
        contexts = await written.contexts([each.question for each in instance.questions])
        pairs = zip(instance.questions, contexts, strict=True)
        return tuple(self._answered(question, context, trace) for question, context in pairs)

    def _answered(self, question: Question, context: Context, trace: Trace) -> Answered:
        answer = self.reader.answer(question.question, context.text)
        ids = [context.ids.get(alias, CORE) for alias in answer.used]
        used = tuple(Source(each, trace.writers[each]) for each in ids if each in trace.writers)
        return answered(
            question, answer.text, tuple(context.ids.values()), used or self._deleted(question, trace)
        )

    def _deleted(self, question: Question, trace: Trace) -> tuple[Source, ...]:
        """Deleted memories that the reader would have used."""
        found = [
            stone
            for stone in trace.tombstones
            if self.reader.answer(question.question, _alone(stone.memory)).used
        ]
        return tuple(Source(stone.memory.id, stone.chunk, deleted=True) for stone in found)


@dataclass(frozen=True, slots=True)
class PolicyReader:
    """A model that answers, through the agent's own way of asking.

    Attributes:
        policy: The model.
        settings: How much it is shown, in whose words.
    """

    policy: Policy
    settings: AgentSettings

    async def answers(self, instance: Instance, done: Memorized, trace: Trace) -> tuple[Answered, ...]:
        """See `Reader`."""
        agent = Agent(done.client, self.policy, self.settings, reader=self.policy)
        return tuple([await self._answered(agent, each, done, trace) for each in instance.questions])

    async def _answered(self, agent: Agent, question: Question, done: Memorized, trace: Trace) -> Answered:
        request = AnswerRequest(bank_id=done.bank.bank_id, question=question.question)
        reply = await agent.answer(request)
        shown = [each.memory.id for each in reply.evidence if each.HasField("memory")]
        cited = [each.memory.id for each in reply.evidence if each.HasField("memory") and each.cited]
        # A model that cites nothing may have used anything that it was shown.
        used = tuple(Source(each, trace.writers[each]) for each in cited or shown if each in trace.writers)
        return answered(question, reply.text, tuple(shown), used)


def answered(question: Question, text: str, packed: Sequence[int], used: tuple[Source, ...]) -> Answered:
    """A question's record, scored."""
    return Answered(
        question=question.question,
        kind=question.kind,
        metric=question.metric,
        answers=question.answers,
        evidence=question.evidence,
        absent=NOT_KNOWN in question.answers,
        answer=text,
        score=score(question.metric, text, question.answers),
        packed=tuple(packed),
        used=used,
    )


def _alone(memory: Memory) -> str:
    return render_context("", [memory]).text
