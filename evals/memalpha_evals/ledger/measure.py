"""The ledger, run: scripted writers through the real path, read by the deterministic readers at every length.

No model takes part. All rows write the same streams and are asked the same questions, so that scores are
paired; a stream is a cluster. A row's score is normalised at each length between the empty memory (0) and the
oracle under the relevant view (1), both as the same reader reads them.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import memcore
from memalpha.agent.prompts import PromptView
from memalpha.agent.tools import ToolCall
from memalpha.policy.extractive import plan
from memalpha.tasks import Instance
from memalpha.tasks.ledger import READERS, Written, ledger, write
from memalpha.tasks.ledger.memory import View, agent_settings
from memalpha.tasks.ledger.writers import (
    GOOD_TEACHER,
    TEACHER,
    AllValues,
    CoreTable,
    Teacher,
    WithoutDeletes,
    WithoutUpdates,
)
from memalpha.tasks.scoring import score
from memalpha.tasks.stats import Difference, Normalised, normalised, paired_difference
from memalpha.tasks.writers import Empty, ScriptedPolicy, Verbatim, Writer
from memalpha_evals.ledger.kept import Kept, kept
from memalpha_evals.statistics import Mean, clustered_share
from memcore import count_tokens

BOOTSTRAP_SAMPLES = 2000
CONFIDENCE = 0.95
DISTANCES = (6, 24, 78, 240)
"""Most chunks between a question's last write and the end of its stream, for each group."""

Progress = Callable[[int], None]
"""Called with the number of chunks that one row has just memorized."""


@dataclass(frozen=True, slots=True)
class Extractive:
    """The rules of the extractive engine, which know nothing of the ledger's grammar."""

    def calls(self, view: PromptView) -> list[ToolCall]:
        """What the engine writes, without a limit of its own."""
        return [each.call for each in plan.calls(view, count_tokens)]


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table.

    Attributes:
        make: A writer for one stream, given the share of the stream's tokens that the oracle stores.
    """

    name: str
    about: str
    make: Callable[[float], Writer]
    view: View = "relevant"


EMPTY = Row("empty", "writes nothing: 0 by definition", lambda _: Empty())
ORACLE = Row("oracle", "does what each statement asks for: 1 by definition", lambda _: Teacher())
ROWS = (
    EMPTY,
    Row("verbatim", "stores every chunk as it is", lambda _: Verbatim()),
    Row("verbatim, equal", "whole sentences, as many tokens as the oracle stores", Verbatim),
    Row("extractive", "the default engine's rules, made for conversations", lambda _: Extractive()),
    Row("all values", "cheats: lists every value an attribute can have", lambda _: AllValues()),
    Row("core table", "cheats: a table in core memory, newest first", lambda _: CoreTable()),
    Row("teacher", "wrong in 70 % of rumours, revocations and changes", lambda _: Teacher(TEACHER)),
    Row("teacher, greedy", "takes the likelier of right and wrong", lambda _: Teacher(TEACHER.greedy())),
    Row("teacher at .9", "wrong in 10 % of everything", lambda _: Teacher(GOOD_TEACHER)),
    Row("no updates", "the oracle, adding instead of updating", lambda _: WithoutUpdates(Teacher())),
    Row("no deletes", "the oracle, never deleting", lambda _: WithoutDeletes(Teacher())),
    Row("oracle, recent", "the oracle, shown the newest memories", lambda _: Teacher(), view="recent"),
    ORACLE,
)
COMPARED = (
    ("oracle", "no updates"),
    ("oracle", "no deletes"),
    ("oracle", "teacher at .9"),
    ("teacher at .9", "verbatim, equal"),
    ("extractive", "verbatim"),
    ("teacher", "teacher, greedy"),
)
"""Rows whose paired difference is given, each as first minus second."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One question to one row's memory: what a reader made of it, and how far back its last write was."""

    stream: str
    kind: str
    distance: int
    score: float


@dataclass(frozen=True, slots=True)
class Cell:
    """A row at one length: the questions of each reader in the same order, and sizes, means over streams.

    `kept` is by stream.
    """

    row: Row
    units: int
    asked: dict[str, list[Asked]]
    memory_tokens: float
    stream_tokens: float
    operations: float
    applied: float
    kept: dict[str, Kept]

    @property
    def compression(self) -> float:
        """Stored tokens of the streams'."""
        return self.memory_tokens / self.stream_tokens

    @property
    def repeated(self) -> float:
        """Share of the statements of all memories that another memory of the stream made before."""
        statements = sum(each.statements for each in self.kept.values())
        return sum(each.repeated for each in self.kept.values()) / statements if statements else 0.0

    def stale(self) -> Mean:
        """Share of the streams' stale values that are still stored."""
        values = [float(value) for each in self.kept.values() for value in each.stale]
        streams = [stream for stream, each in self.kept.items() for _ in each.stale]
        return clustered_share(values, streams, CONFIDENCE)


@dataclass(frozen=True, slots=True)
class Result:
    """All cells of a run."""

    seed: int
    streams: int
    lengths: tuple[int, ...]
    cells: tuple[Cell, ...]

    def cell(self, name: str, units: int) -> Cell:
        """The cell of a row at a length."""
        return next(cell for cell in self.cells if cell.row.name == name and cell.units == units)

    def normalised(self, name: str, units: int, reader: str) -> Normalised:
        """The row's score between the empty memory and the oracle."""
        ours, floor, ceiling = (
            self.cell(each, units).asked[reader] for each in (name, EMPTY.name, ORACLE.name)
        )
        return normalised(
            [each.score for each in ours],
            [each.score for each in floor],
            [each.score for each in ceiling],
            [each.stream for each in ours],
            samples=BOOTSTRAP_SAMPLES,
            confidence=CONFIDENCE,
            seed=self.seed,
        )

    def difference(self, first: str, second: str, units: int, reader: str) -> Difference:
        """First minus second, of scores as they are."""
        ours, theirs = (self.cell(each, units).asked[reader] for each in (first, second))
        return paired_difference(
            [each.score for each in ours],
            [each.score for each in theirs],
            [each.stream for each in ours],
            samples=BOOTSTRAP_SAMPLES,
            confidence=CONFIDENCE,
            seed=self.seed,
        )


def run(lengths: Sequence[int], streams: int, seed: int, progress: Progress) -> Result:
    """Runs all rows on `streams` evaluation streams of each length.

    Args:
        lengths: In units of six chunks.
        streams: Of each length.
        seed: Its streams and another seed's have nothing in common.
        progress: Is told of each memory that is done.
    """
    cells = [cell for units in lengths for cell in _cells(units, streams, seed, progress)]
    return Result(seed, streams, tuple(lengths), tuple(cells))


def chunks(lengths: Sequence[int], streams: int) -> int:
    """How many chunks `run` memorizes."""
    return sum(len(ledger(0, units).chunks) * streams * len(ROWS) for units in lengths)


def _cells(units: int, streams: int, seed: int, progress: Progress) -> list[Cell]:
    instances = [ledger(seed * 1_000_000 + number, units, split="eval") for number in range(streams)]
    shares = [_oracle_share(instance) for instance in instances]
    return [_cell(row, units, instances, shares, progress) for row in ROWS]


def _oracle_share(instance: Instance) -> float:
    return asyncio.run(_asked(ORACLE, instance, 1.0))[0].tokens / _tokens(instance)


def _tokens(instance: Instance) -> int:
    return sum(count_tokens(chunk.text) for chunk in instance.chunks)


def _cell(
    row: Row, units: int, instances: Sequence[Instance], shares: Sequence[float], progress: Progress
) -> Cell:
    asked: dict[str, list[Asked]] = {name: [] for name in READERS}
    memories: list[Written] = []
    held: dict[str, Kept] = {}
    for instance, share in zip(instances, shares, strict=True):
        written, answers, held[instance.instance_id] = asyncio.run(_asked(row, instance, share))
        memories.append(written)
        for name, found in answers.items():
            asked[name] += found
        progress(len(instance.chunks))
    return Cell(
        row,
        units,
        asked,
        memory_tokens=_mean([each.tokens for each in memories]),
        stream_tokens=_mean([_tokens(each) for each in instances]),
        operations=_mean([each.calls for each in memories]),
        applied=_mean([each.applied for each in memories]),
        kept=held,
    )


async def _asked(row: Row, instance: Instance, share: float) -> tuple[Written, dict[str, list[Asked]], Kept]:
    """One memory, written and asked by every reader, and what it keeps."""
    with memcore.Store.in_memory() as store:
        policy = ScriptedPolicy(row.name, row.make(share))
        written = await write(store, instance, policy, agent_settings(view=row.view))
        contexts = await written.contexts([question.question for question in instance.questions])
        held = kept(instance, [memory async for memory in written.client.memories(written.bank.bank_id)])
    asked: dict[str, list[Asked]] = {name: [] for name in READERS}
    for question, context in zip(instance.questions, contexts, strict=True):
        distance = len(instance.chunks) - 1 - max(question.evidence)
        for name, reader in READERS.items():
            answer = reader.answer(question.question, context.text).text
            points = score(question.metric, answer, question.answers)
            asked[name].append(Asked(instance.instance_id, question.kind, distance, points))
    return written, asked, held


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
