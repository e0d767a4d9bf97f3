"""Answers in packed contexts: does what a reader would be shown say the answer, word for word?

No model takes part. Every conversation is memorized by the agent's own loop with the extractive policy, and
cut into passages; recall packs a context of so many tokens for each question, and it is looked whether one of
its memories holds the answer (`questions` says of which questions). Three rows say what that is worth:
`oracle` packs the evidence itself and is the ceiling, `shuffled` asks what the extractive policy wrote of
another conversation and is what chance holds, `none` has no memory. No budget may have memories above the
evidence, clearly fewer answers in the right conversation's memories than in another's, or any in none: a
measure that does does not measure memory. The other conversation is half the set away: files put
questions about the same passages side by side, and neighbours would hold each other's evidence.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from memalpha.tasks.stats import Difference
from memalpha_evals.datasets import Dataset, DatasetError
from memalpha_evals.packed.contexts import ROWS, STORING, Shown, Task, contexts
from memalpha_evals.packed.questions import Asked, Asking, asking
from memalpha_evals.protocols import Context
from memalpha_evals.statistics import (
    SIGNIFICANCE,
    Mean,
    clustered_mean,
    clustered_share,
    p_value,
    paired,
)
from memalpha_evals.streams import stream

BUDGETS = (256, 1024, 4096)
"""o200k tokens of a context."""
COMPARED = (("extractive", "passages"), ("extractive", "shuffled"), ("oracle", "extractive"))
"""Rows whose paired difference is given, each as first minus second."""

Progress = Callable[[int], None]
"""Called with 1 for each conversation that is done."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One row at one budget; `held` is 1 or 0 for each question, in the same order for all."""

    row: str
    budget: int
    held: tuple[float, ...]
    context_tokens: float

    @property
    def share(self) -> float:
        """Of the questions whose answer is held."""
        return sum(self.held) / len(self.held)


@dataclass(frozen=True, slots=True)
class Result:
    """All cells of a run.

    Attributes:
        asking: Of each conversation, those without a question that can be asked too.
        stored: Tokens of the memories of all conversations, of rows that store any.
    """

    dataset: Dataset
    budgets: tuple[int, ...]
    asking: tuple[Asking, ...]
    cells: tuple[Cell, ...]
    stored: dict[str, int]
    stream_tokens: int

    @property
    def asked(self) -> list[Asked]:
        """All questions, in the order of each cell."""
        return [asked for each in self.asking for asked in each.asked]

    @property
    def clusters(self) -> list[str]:
        """The cluster of each question."""
        return [each.cluster for each in self.asked]

    def cell(self, row: str, budget: int) -> Cell:
        """The cell of a row at a budget."""
        return next(each for each in self.cells if (each.row, each.budget) == (row, budget))

    def share(self, cell: Cell) -> Mean:
        """With its clustered interval."""
        return clustered_share(cell.held, self.clusters)

    def difference(self, first: str, second: str, budget: int) -> Difference:
        """First minus second."""
        return paired(self.cell(first, budget).held, self.cell(second, budget).held, self.clusters)

    def ordered(self) -> bool:
        """Whether every budget has oracle >= extractive, that not clearly below shuffled, and 0 in none."""
        return all(self._falls(budget) for budget in self.budgets)

    def _falls(self, budget: int) -> bool:
        oracle, extractive, none = (self.cell(row, budget) for row in ("oracle", "extractive", "none"))
        return oracle.share >= extractive.share and none.share == 0 and not self._below_chance(budget)

    def _below_chance(self, budget: int) -> bool:
        """Whether the interval of extractive − shuffled lies below 0."""
        ours, theirs = (self.cell(row, budget).held for row in ("extractive", "shuffled"))
        found = clustered_mean([a - b for a, b in zip(ours, theirs, strict=True)], self.clusters)
        p = p_value(found)
        return found.value < 0 and p is not None and p < SIGNIFICANCE


def run(dataset: Dataset, progress: Progress, budgets: Sequence[int] = BUDGETS) -> Result:
    """Asks all questions that can be asked of all rows.

    Args:
        dataset: At least two of its conversations have such a question.
        progress: Is told of each conversation that has one.
        budgets: o200k tokens of a context, each at least 64.

    Raises:
        DatasetError: There are fewer such conversations, so that no memory can be exchanged.
    """
    found = [(conversation, asking(dataset, conversation)) for conversation in dataset.conversations]
    tasks = [Task(stream(conversation), each.asked) for conversation, each in found if each.asked]
    if len(tasks) < 2:
        message = f"{dataset.name} must have answers that stand in their evidence in at least 2 conversations"
        raise DatasetError(message)
    away = len(tasks) // 2
    shown = [_shown(task, tasks[place - away], budgets, progress) for place, task in enumerate(tasks)]
    aligned = _aligned(shown, away)
    return Result(
        dataset,
        tuple(budgets),
        tuple(each for _, each in found),
        tuple(_cell(tasks, row, budget, aligned[row, budget]) for row in ROWS for budget in budgets),
        {row: sum(each[row, budgets[0]][0].stored_tokens for each in shown) for row in STORING},
        sum(task.stream.tokens for task in tasks),
    )


def _shown(task: Task, other: Task, budgets: Sequence[int], progress: Progress) -> Shown:
    found = asyncio.run(contexts(task, other, budgets))
    progress(1)
    return found


def _aligned(shown: Sequence[Shown], away: int) -> dict[tuple[str, int], list[Context]]:
    """The contexts of all questions in order: what is shuffled comes from so many conversations later."""
    after = [*shown[away:], *shown[:away]]
    return {
        key: [context for each in (after if key[0] == "shuffled" else shown) for context in each[key]]
        for key in shown[0]
    }


def _cell(tasks: Sequence[Task], row: str, budget: int, shown: Sequence[Context]) -> Cell:
    asked = [each for task in tasks for each in task.asked]
    held = tuple(float(each.held(context.text)) for each, context in zip(asked, shown, strict=True))
    return Cell(row, budget, held, sum(context.tokens for context in shown) / len(shown))
