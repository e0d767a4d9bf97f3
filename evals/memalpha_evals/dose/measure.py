"""Dose and response: the more memories are wrong, the lower every measure must be.

A measure that does not fall when memories are exchanged for others does not measure memory. Each writer's
memories of a conversation are put into a bank, a share of them (the dose) exchanged for memories of other
conversations, word for word and each at most once; a larger dose exchanges the same ones and more. Then the
same questions are asked: recall shows a context, the reader `extract` answers from it, and rows come out that
are scored as all others. Nothing else changes, so the response is the measures' own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from random import Random
from statistics import fmean

import memcore
from memalpha.agent import AgentSettings
from memalpha.api.memory.v1alpha1.memory_pb2 import Durability, MemoryType
from memalpha.client import AsyncMemoryClient
from memalpha.tasks.instance import Chunk, Instance, Question
from memalpha.tasks.memorized import InlineTransport, memorize
from memalpha.tasks.stats import Difference
from memalpha_evals import scorers
from memalpha_evals.construct.writers import extractive
from memalpha_evals.datasets import Dataset, DatasetError
from memalpha_evals.readers.extract import ExtractReader
from memalpha_evals.rows import Row
from memalpha_evals.runs.evidence import EvidenceRecall
from memalpha_evals.statistics import paired
from memalpha_evals.streams import AskedQuestion, Stream, stream
from memalpha_evals.systems.rag import cut
from memalpha_evals.systems.recalled import recalled

DOSES = (0.0, 0.1, 0.25, 0.5)
BUDGET = 1024
"""o200k tokens of a context."""
PASSAGE_TOKENS = 256
WRITERS = {"memalpha": "memories of the extractive policy", "passages": "the stream cut into passages"}
MEASURES: dict[str, Callable[[Row], float | None]] = {
    "evidence": lambda row: row.evidence_recall,
    "headline": scorers.headline,
    "f1": lambda row: row.scores["strict.f1"],
}

Progress = Callable[[int], None]
"""Called with 1 for each question that is answered."""


@dataclass(frozen=True, slots=True)
class Held:
    """A memory as it is put into a bank."""

    kind: str
    text: str
    time: str


@dataclass(frozen=True, slots=True)
class Cell:
    """One writer at one dose: its rows, in the same order for all doses, and how many memories are wrong."""

    writer: str
    dose: float
    rows: tuple[Row, ...]
    exchanged: int
    memories: int

    def values(self, measure: str) -> list[float]:
        """Of each row that has the measure."""
        found = (MEASURES[measure](row) for row in self.rows)
        return [each for each in found if each is not None]


@dataclass(frozen=True, slots=True)
class Result:
    """All cells, doses ascending within each writer."""

    dataset: Dataset
    seed: int
    cells: tuple[Cell, ...]

    def of(self, writer: str) -> list[Cell]:
        """A writer's cells."""
        return [cell for cell in self.cells if cell.writer == writer]

    def response(self, writer: str, measure: str) -> list[float]:
        """Means by dose."""
        return [fmean(cell.values(measure)) for cell in self.of(writer)]

    def falls(self, writer: str, measure: str) -> bool:
        """Each dose gives less than the one before."""
        means = self.response(writer, measure)
        return all(later < earlier for earlier, later in pairwise(means))

    def loss(self, cell: Cell, measure: str) -> Difference:
        """What a dose takes away, question by question."""
        whole = self.of(cell.writer)[0]
        kept = [row for row in whole.rows if MEASURES[measure](row) is not None]
        return paired(cell.values(measure), whole.values(measure), [row.cluster for row in kept])


def run(dataset: Dataset, seed: int, progress: Progress, doses: Sequence[float] = DOSES) -> Result:
    """Asks all questions that have an answer and evidence, of all writers at all doses.

    Args:
        dataset: At least two conversations: one's wrong memories are another's.
        seed: Of which memories are exchanged.
        progress: Is told of each answer.
        doses: Shares of memories, ascending from 0.

    Raises:
        DatasetError: There are fewer conversations, or no such questions.
    """
    streams = [stream(conversation) for conversation in dataset.conversations]
    if len(streams) < 2 or not questions(dataset):
        message = f"{dataset.name} must have two conversations and questions with an answer and evidence"
        raise DatasetError(message)
    cells = [
        _cell(dataset, streams, writer, held, dose, seed, progress)
        for writer, held in _written(streams).items()
        for dose in doses
    ]
    return Result(dataset, seed, tuple(cells))


def questions(dataset: Dataset) -> int:
    """How many are asked at each dose of each writer."""
    return sum(map(len, map(_asked, map(stream, dataset.conversations))))


def exchanged(own: Sequence[Held], others: Sequence[Held], dose: float, draws: Random) -> list[Held]:
    """Memories of which a share is another conversation's; `draws` must begin anew for each dose.

    Which ones are exchanged, in which order and for what, does not depend on the dose. No wrong memory comes
    twice, and none is one of the conversation's own.

    Raises:
        DatasetError: There are too few other memories.
    """
    count = round(dose * len(own))
    wrong = sorted({*others} - {*own}, key=lambda held: (held.time, held.text, held.kind))
    if count > len(wrong):
        message = f"{count} of {len(own)} memories cannot be exchanged: there are {len(wrong)} others"
        raise DatasetError(message)
    places = draws.sample(range(len(own)), len(own))
    exchange = dict(zip(places[:count], draws.sample(wrong, len(wrong)), strict=False))
    return [exchange.get(place, held) for place, held in enumerate(own)]


def _asked(of: Stream) -> list[AskedQuestion]:
    return [
        asked
        for asked in of.questions
        if asked.question.answer and asked.question.evidence and not asked.question.unanswerable
    ]


def _written(streams: Sequence[Stream]) -> dict[str, list[list[Held]]]:
    return {
        "memalpha": [asyncio.run(_memorized(each)) for each in streams],
        "passages": [list(_passages(each)) for each in streams],
    }


async def _memorized(of: Stream) -> list[Held]:
    chunks = tuple(Chunk(chunk.text, chunk.event_time) for chunk in of.chunks)
    settings = AgentSettings()
    bank = settings.bank_settings(None)
    bank.durability = Durability.DURABILITY_VOLATILE
    instance = Instance(of.id, "dose", chunks, (Question("-", ("-",), "strict"),))
    with memcore.Store.in_memory() as store:
        found = await memorize(store, instance, extractive(1), settings, bank)
        if found.bank.cursor != len(chunks):
            raise DatasetError(f"conversation {of.id}: a chunk was not memorized")
        return [
            Held(_KINDS[memory.type], memory.content, memory.event_time)
            async for memory in found.client.memories(found.bank.bank_id)
            if memory.type in _KINDS  # core memory is one text: there is no share of it
        ]


_KINDS = {MemoryType.MEMORY_TYPE_SEMANTIC: "semantic", MemoryType.MEMORY_TYPE_EPISODIC: "episodic"}


def _passages(of: Stream) -> Iterator[Held]:
    for chunk in of.chunks:
        yield from (Held("episodic", each.text, each.event_time) for each in cut(chunk, PASSAGE_TOKENS))


def _cell(
    dataset: Dataset,
    streams: Sequence[Stream],
    writer: str,
    held: Sequence[Sequence[Held]],
    dose: float,
    seed: int,
    progress: Progress,
) -> Cell:
    evidence = EvidenceRecall(dataset)
    rows, wrong, count = list[Row](), 0, 0
    for place, of in enumerate(streams):
        others = [each for other, found in enumerate(held) if other != place for each in found]
        memories = exchanged(held[place], others, dose, Random(f"{seed} {writer} {of.id}"))
        wrong += round(dose * len(held[place]))
        count += len(memories)
        for row in asyncio.run(_answered(dataset, of, writer, memories)):
            scored = replace(row, evidence_recall=evidence.of(row))
            rows.append(replace(scored, scores=scorers.score(scored)))
            progress(1)
    return Cell(writer, dose, tuple(rows), wrong, count)


async def _answered(dataset: Dataset, of: Stream, writer: str, memories: Sequence[Held]) -> list[Row]:
    with memcore.Store.in_memory() as store:
        bank = store.create_bank("dose", durability="volatile", embedder="builtin")
        for start in range(0, len(memories), 200):
            bank.apply(
                [memcore.Insert(each.kind, each.text, each.time) for each in memories[start : start + 200]]  # pyright: ignore[reportArgumentType]
            )
        store.wait_for_upkeep()
        client = AsyncMemoryClient(InlineTransport(store))
        return [await _row(dataset, of, writer, asked, client) for asked in _asked(of)]


async def _row(
    dataset: Dataset, of: Stream, writer: str, asked: AskedQuestion, client: AsyncMemoryClient
) -> Row:
    context = await recalled(client, "dose", asked.question.text, BUDGET)
    reader = ExtractReader()
    answer = await reader.answer(context, asked)
    question = asked.question
    return Row(
        dataset=dataset.name,
        system=writer,
        reader=reader.name,
        conversation=of.id,
        question_id=asked.id,
        category=question.category,
        cluster=of.id,
        question=question.text,
        answers=(question.answer, *question.aliases),
        options=question.options,
        metric=question.metric or dataset.metric,
        answer=answer.text,
        context=context.text,
        context_tokens=context.tokens,
        stored_tokens=context.stored_tokens,
        truncated=context.truncated,
    )
