"""Memory construction without a reader: how much evidence does a writer keep for the tokens it stores?

Every writer reads the same chunks through the agent's own loop. The extractive engine writes first, within
a budget; the others then get as many tokens as it stored, conversation by conversation. A question's score
is the share of its evidence turns (`coverage`) in the text that recall shows a reader who has
`READER_TOKENS`: what is stored in vain, cannot be found or is too long to show is worth nothing. `stored`
is the same share in all that is stored. From both is taken what the same text holds of evidence that it
cannot know, another conversation's: a text that says a lot about anything gains nothing. The canary puts a
third conversation's evidence in place of the right one, and must come out at zero.
"""

import asyncio
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import memcore
from memalpha.agent import Agent, AgentSettings, Policy
from memalpha.agent.chunking import Turn, pack
from memalpha.api.agent.v1alpha1.agent_service_pb2 import ChunkState, RecallRequest
from memalpha.api.memory.v1alpha1.memory_pb2 import Bank, Chunk, Durability
from memalpha.client import AsyncMemoryClient
from memalpha.tasks.memorized import InlineTransport
from memalpha.tasks.stats import Difference
from memalpha.tasks.writers import ScriptedPolicy
from memalpha_evals.construct.writers import Choice, Chosen, extractive
from memalpha_evals.coverage import Content, content, held_pairs, held_words
from memalpha_evals.datasets import Conversation, Dataset, DatasetError
from memalpha_evals.datasets import Turn as Said
from memalpha_evals.statistics import paired
from memcore import count_tokens

READER_TOKENS = 512
"""What a reader is shown for one question, with the headings of the block."""
MOST_HITS = 100
"""Of each type; more than fit, so that tokens are the only limit."""

MEASURES = ("found", "stored", "stored words")
"""`stored words` counts single words; it shows what chance does to them."""

EXTRACTIVE = "extractive"
SCRIPTED: dict[Choice, str] = {
    "heads": "the first sentences of every turn, verbatim",
    "random turns": "whole turns, verbatim",
    "people first": "whole turns, verbatim, those of assistants only where room is left",
    "random sentences": "single sentences, verbatim, with their speaker",
}
WRITERS = (EXTRACTIVE, *SCRIPTED)

Progress = Callable[[int], None]
"""Called with the number of chunks that one writer has just memorized."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One question to one memory: shares by measure.

    Attributes:
        held: Of its own evidence.
        chance: Of a question's of the next conversation.
        shuffled: Of a question's of the conversation before.
    """

    cluster: str
    category: str
    held: dict[str, float]
    chance: dict[str, float]
    shuffled: dict[str, float]


@dataclass(frozen=True, slots=True)
class Cell:
    """One writer within one budget; sizes are sums, `asked` is in the same order for all."""

    writer: str
    budget: float
    asked: tuple[Asked, ...]
    stored_tokens: int
    memories: int
    stream_tokens: int

    def score(self, measure: str) -> Difference:
        """What is held beyond chance."""
        return self._beyond_chance([each.held[measure] for each in self.asked], measure)

    def canary(self, measure: str) -> Difference:
        """What is held beyond chance of evidence that is not the question's: nothing."""
        return self._beyond_chance([each.shuffled[measure] for each in self.asked], measure)

    def chance(self, measure: str) -> float:
        """Mean over questions."""
        return sum(each.chance[measure] for each in self.asked) / len(self.asked)

    def _beyond_chance(self, shares: Sequence[float], measure: str) -> Difference:
        chances = [each.chance[measure] for each in self.asked]
        return paired(shares, chances, [each.cluster for each in self.asked])


@dataclass(frozen=True, slots=True)
class Result:
    """All cells of a run; `whole` is the memory of all turns, verbatim, which no budget limits."""

    dataset: Dataset
    budgets: tuple[float, ...]
    seed: int
    cells: tuple[Cell, ...]
    whole: Cell

    def cell(self, writer: str, budget: float) -> Cell:
        """The cell of a writer within a budget."""
        return next(each for each in self.cells if (each.writer, each.budget) == (writer, budget))

    def difference(self, writer: str, budget: float, measure: str) -> Difference:
        """The extractive engine minus another writer, both beyond chance."""
        ours, theirs = (self.cell(name, budget).asked for name in (EXTRACTIVE, writer))
        first, second = (
            [each.held[measure] - each.chance[measure] for each in asked] for asked in (ours, theirs)
        )
        return paired(first, second, [each.cluster for each in ours], reach=2.0)


@dataclass(frozen=True, slots=True)
class Probe:
    """A question that can be scored: its evidence, and that of two other conversations' questions."""

    text: str
    category: str
    evidence: tuple[Content, ...]
    foreign: tuple[Content, ...] = ()
    shuffled: tuple[Content, ...] = ()


Probes: TypeAlias = Callable[[Conversation, frozenset[str]], list[Probe]]
"""What a conversation is asked, given the categories that count."""


@dataclass(frozen=True, slots=True)
class _Task:
    id: str
    chunks: tuple[Chunk, ...]
    probes: tuple[Probe, ...]

    @property
    def tokens(self) -> int:
        return sum(count_tokens(chunk.text) for chunk in self.chunks)


@dataclass(frozen=True, slots=True)
class _Written:
    asked: tuple[Asked, ...]
    tokens: int
    memories: int


def run(
    dataset: Dataset, budgets: Sequence[float], seed: int, progress: Progress, probes: Probes | None = None
) -> Result:
    """Runs all writers within all budgets.

    Args:
        dataset: At least two of its conversations have a question whose evidence can be scored.
        budgets: Most tokens that a writer may write, as shares of what it reads.
        seed: Of what is drawn at random.
        progress: Is told of each memory that is done.
        probes: What is asked; None: each question, by its evidence.

    Raises:
        DatasetError: there are fewer such conversations, so that chance cannot be measured.
    """
    tasks = _tasks(dataset, probes)
    cells = [cell for budget in budgets for cell in _cells(tasks, budget, seed, progress)]
    policies = [_scripted("random turns", task, 1, seed) for task in tasks]
    whole = _cell("all turns", 1, tasks, _written_all(tasks, policies, progress))
    return Result(dataset, tuple(budgets), seed, tuple(cells), whole)


def chunks(dataset: Dataset, budgets: Sequence[float], probes: Probes | None = None) -> int:
    """How many chunks `run` memorizes."""
    return sum(len(task.chunks) for task in _tasks(dataset, probes)) * (len(budgets) * len(WRITERS) + 1)


def _tasks(dataset: Dataset, probes: Probes | None = None) -> list[_Task]:
    counted, asks = frozenset(dataset.categories()), probes or _probes
    conversations = [(each, asks(each, counted)) for each in dataset.conversations]
    usable = [(conversation, asked) for conversation, asked in conversations if asked]
    if len(usable) < 2:
        message = (
            f"{dataset.name} must have evidence in at least 2 conversations, but has it in {len(usable)}"
        )
        raise DatasetError(message)
    following, preceding = usable[1:] + usable[:1], usable[-1:] + usable[:-1]
    return [
        _Task(one.id, tuple(_chunks(one)), tuple(_with_foreign(asked, after, before)))
        for (one, asked), (_, after), (_, before) in zip(usable, following, preceding, strict=True)
    ]


def _probes(conversation: Conversation, counted: frozenset[str]) -> list[Probe]:
    """Evidence turns without a pair, such as "Yes!", have nothing that could be held."""
    turns = {turn.id: content(_text(turn)) for turn in conversation.turns}
    probes = []
    for question in conversation.questions:
        evidence = tuple(turns[id_] for id_ in sorted(question.evidence) if turns[id_].pairs)
        if evidence and question.category in counted:
            probes.append(Probe(question.text, question.category, evidence))
    return probes


def _with_foreign(
    probes: Sequence[Probe], after: Sequence[Probe], before: Sequence[Probe]
) -> Iterator[Probe]:
    for place, probe in enumerate(probes):
        foreign, shuffled = (others[place % len(others)].evidence for others in (after, before))
        yield replace(probe, foreign=foreign, shuffled=shuffled)


def _chunks(conversation: Conversation) -> Iterator[Chunk]:
    return pack(Turn(_text(turn), turn.speaker, turn.time) for turn in conversation.turns)


def _text(turn: Said) -> str:
    return turn.text.removeprefix(f"{turn.speaker}: ")


def _cells(tasks: Sequence[_Task], budget: float, seed: int, progress: Progress) -> Iterator[Cell]:
    policies = [extractive(budget) for _ in tasks]
    ours = _written_all(tasks, policies, progress)
    yield _cell(EXTRACTIVE, budget, tasks, ours)
    for choice in SCRIPTED:
        policies = [
            _scripted(choice, task, done.tokens / task.tokens, seed)
            for task, done in zip(tasks, ours, strict=True)
        ]
        yield _cell(choice, budget, tasks, _written_all(tasks, policies, progress))


def _scripted(choice: Choice, task: _Task, share: float, seed: int) -> Policy:
    return ScriptedPolicy(choice, Chosen(choice, share, random.Random(f"{seed} {task.id} {choice}")))


def _written_all(tasks: Sequence[_Task], policies: Sequence[Policy], progress: Progress) -> list[_Written]:
    done = []
    for task, policy in zip(tasks, policies, strict=True):
        done.append(asyncio.run(_write(task, policy)))
        progress(len(task.chunks))
    return done


def _cell(writer: str, budget: float, tasks: Sequence[_Task], done: Sequence[_Written]) -> Cell:
    return Cell(
        writer,
        budget,
        asked=tuple(asked for written in done for asked in written.asked),
        stored_tokens=sum(written.tokens for written in done),
        memories=sum(written.memories for written in done),
        stream_tokens=sum(task.tokens for task in tasks),
    )


async def _write(task: _Task, policy: Policy) -> _Written:
    """Has a policy memorize a conversation in a bank with default settings, and asks it."""
    with memcore.Store.in_memory() as store:
        client = AsyncMemoryClient(InlineTransport(store))
        agent = Agent(client, policy)
        bank = await _memorized(client, agent, task)
        store.wait_for_upkeep()
        texts = [memory.content async for memory in client.memories(bank.bank_id)]
        whole = content("\n".join(texts))
        asked = [_asked(task.id, each, await _shown(agent, bank, each), whole) for each in task.probes]
    stats = bank.stats
    tokens = stats.core_tokens + stats.semantic_tokens + stats.episodic_tokens
    return _Written(tuple(asked), tokens, stats.semantic_count + stats.episodic_count)


async def _memorized(client: AsyncMemoryClient, agent: Agent, task: _Task) -> Bank:
    settings = AgentSettings().bank_settings(None)
    settings.durability = Durability.DURABILITY_VOLATILE
    bank = await client.create_bank("conversation", settings)
    await client.append_chunks(bank.bank_id, task.chunks)
    async for outcome in agent.memorize_pending(bank.bank_id):
        if outcome.state != ChunkState.CHUNK_STATE_MEMORIZED:
            raise DatasetError(f"conversation {task.id}: a chunk was not memorized: {outcome.failure}")
    return await client.get_bank(bank.bank_id)


async def _shown(agent: Agent, bank: Bank, probe: Probe) -> Content:
    """What a reader is shown for a question."""
    request = RecallRequest(
        bank_id=bank.bank_id, query=probe.text, limit=MOST_HITS, token_budget=READER_TOKENS
    )
    return content((await agent.recall(request)).context)


def _asked(conversation: str, probe: Probe, shown: Content, whole: Content) -> Asked:
    return Asked(
        conversation,
        probe.category,
        held=_measured(probe.evidence, shown, whole),
        chance=_measured(probe.foreign, shown, whole),
        shuffled=_measured(probe.shuffled, shown, whole),
    )


def _measured(evidence: Sequence[Content], shown: Content, whole: Content) -> dict[str, float]:
    shares = held_pairs(evidence, shown), held_pairs(evidence, whole), held_words(evidence, whole)
    return dict(zip(MEASURES, shares, strict=True))
