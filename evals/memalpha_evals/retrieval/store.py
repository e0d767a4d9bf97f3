"""Evidence recall: does a search for a question find the turns that hold its answer? No model takes part.

All systems rank the same turns for the same questions in one run, so that their scores are paired. A question
whose evidence names no turn cannot be scored; it is skipped for all systems alike, named and counted.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from memalpha.tasks.stats import Difference
from memalpha_evals.datasets import Conversation, Dataset, Question
from memalpha_evals.retrieval.metrics import (
    evidence_ranks,
    evidence_reads,
    ndcg_at,
    recall_at,
    recall_within,
    reciprocal_rank,
)
from memalpha_evals.retrieval.retrievers import Retriever
from memalpha_evals.statistics import paired
from memcore import count_tokens

NDCG_K = 10
COMPARED_K = 10
"""Recall at this place is what systems are compared by."""

BUDGETS = (256, 1024, 4096)
"""o200k tokens of the ranked texts, best first, that a reader would be given."""

Progress = Callable[[int], None]
"""Called with the number of questions that one system answered just now."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A question that no system is scored on."""

    conversation: str
    question: str
    category: str
    reason: str


@dataclass(frozen=True, slots=True)
class Row:
    """One question, and for each system by name the places of its evidence, and the tokens read until there.

    Rows of one `cluster` are not independent of one another.
    """

    cluster: str
    category: str
    relevant: int
    ranks: dict[str, tuple[int, ...]]
    reads: dict[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Scores:
    """Means over questions, from 0 to 1; `recall` by k, `within` by a budget of `BUDGETS`."""

    questions: int
    recall: dict[int, float]
    within: dict[int, float]
    mrr: float
    ndcg: float


@dataclass(frozen=True, slots=True)
class Result:
    """What one run found. `partly_usable` counts scored questions with some evidence that names no turn."""

    rows: tuple[Row, ...]
    skipped: tuple[Skipped, ...]
    partly_usable: int
    seconds: dict[str, float]


def evaluate(dataset: Dataset, systems: Sequence[Retriever], progress: Progress) -> Result:
    """Ranks all turns of each conversation for each of its questions, with every system."""
    rows: list[Row] = []
    seconds = {system.name: 0.0 for system in systems}
    for conversation in dataset.conversations:
        usable = [question for question in conversation.questions if question.evidence]
        tokens = {turn.id: count_tokens(turn.text) for turn in conversation.turns}
        ranked: dict[str, list[list[str]]] = {}
        for system in systems:
            start = time.perf_counter()
            asked = [question.text for question in usable]
            ranked[system.name] = system.rank(conversation.turns, asked)
            seconds[system.name] += time.perf_counter() - start
            progress(len(usable))
        for place, question in enumerate(usable):
            evidence = question.evidence
            found = {name: rankings[place] for name, rankings in ranked.items()}
            ranks = {name: evidence_ranks(ranking, evidence) for name, ranking in found.items()}
            reads = {name: evidence_reads(ranking, evidence, tokens) for name, ranking in found.items()}
            cluster = dataset.cluster_of(conversation, place)
            rows.append(Row(cluster, question.category, len(evidence), ranks, reads))
    skipped = tuple(_skipped(*pair) for pair in dataset.questions() if not pair[1].evidence)
    partly = sum(bool(question.evidence and question.bad_evidence) for _, question in dataset.questions())
    return Result(rows=tuple(rows), skipped=skipped, partly_usable=partly, seconds=seconds)


def scores(rows: Sequence[Row], system: str, ks: Sequence[int]) -> Scores:
    """Means over at least one row."""
    pairs = [(row.ranks[system], row.relevant) for row in rows]
    reads = [(row.reads[system], row.relevant) for row in rows]
    return Scores(
        questions=len(pairs),
        recall={k: _mean([recall_at(ranks, relevant, k) for ranks, relevant in pairs]) for k in ks},
        within={
            budget: _mean([recall_within(read, relevant, budget) for read, relevant in reads])
            for budget in BUDGETS
        },
        mrr=_mean([reciprocal_rank(ranks) for ranks, _ in pairs]),
        ndcg=_mean([ndcg_at(ranks, relevant, NDCG_K) for ranks, relevant in pairs]),
    )


def compare(rows: Sequence[Row], ours: str, theirs: str) -> Difference:
    """Paired difference in recall at `COMPARED_K`, with a t interval over clusters."""

    def recalls(system: str) -> list[float]:
        return [recall_at(row.ranks[system], row.relevant, COMPARED_K) for row in rows]

    return paired(recalls(ours), recalls(theirs), [row.cluster for row in rows])


def _skipped(conversation: Conversation, question: Question) -> Skipped:
    reason = "evidence names no turn of the conversation" if question.bad_evidence else "no evidence given"
    return Skipped(conversation.id, question.text, question.category, reason)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
