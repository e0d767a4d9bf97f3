"""One run as a table for people and as a JSON document for programs; both say the same.

The document's keys are described in `evals/README.md`; it gives shares from 0 to 1, the table percent.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from memalpha.tasks.stats import Difference
from memalpha_evals.datasets import Dataset
from memalpha_evals.retrieval import store
from memalpha_evals.retrieval.retrievers import DEPTH, Retriever
from memalpha_evals.retrieval.store import Result, Row, Scores
from memalpha_evals.statistics import CONFIDENCE

_SHOWN = 10
"""Most skipped questions that the table names."""


@dataclass(frozen=True, slots=True)
class Report:
    """A run with what is needed to read it.

    `counted` are the categories of the overall row; the first of `systems` is what the others are compared
    with; `seconds` is all of it, from the file to the last ranking.
    """

    file: str
    dataset: Dataset
    result: Result
    systems: Sequence[Retriever]
    counted: Sequence[str]
    ks: Sequence[int]
    seconds: float

    def overall(self) -> list[Row]:
        """Rows of the counted categories."""
        return [row for row in self.result.rows if row.category in self.counted]

    def by_category(self) -> dict[str, list[Row]]:
        """Rows of each category that the file has, the counted ones first."""
        present = dict.fromkeys([*self.counted, *(row.category for row in self.result.rows)])
        rows = {name: [row for row in self.result.rows if row.category == name] for name in present}
        return {name: found for name, found in rows.items() if found}

    def differences(self) -> dict[str, Difference]:
        """Each other system minus the first one, over the counted categories."""
        first, *others = (system.name for system in self.systems)
        return {name: store.compare(self.overall(), name, first) for name in others}


def document(report: Report) -> dict[str, Any]:
    """The JSON document of a run."""
    result = report.result
    return {
        "dataset": {
            "name": report.dataset.name,
            "file": report.file,
            "sha256": report.dataset.sha256,
            "conversations": len(report.dataset.conversations),
            "turns": report.dataset.turn_count,
        },
        "protocol": {
            "unit": report.dataset.unit,
            "clusters": report.dataset.clusters,
            "depth": DEPTH,
            "k": list(report.ks),
            "budgets": list(store.BUDGETS),
            "categories": list(report.counted),
        },
        "questions": {
            "total": len(result.rows) + len(result.skipped),
            "scored": len(result.rows),
            "partly_usable_evidence": result.partly_usable,
            "skipped": [asdict(skipped) for skipped in result.skipped],
        },
        "seconds": round(report.seconds, 3),
        "systems": [_system(report, system) for system in report.systems],
        "differences": [
            _difference(difference, name, report.systems[0].name)
            for name, difference in report.differences().items()
        ],
    }


def _system(report: Report, system: Retriever) -> dict[str, Any]:
    def metrics(rows: Sequence[Row]) -> dict[str, float]:
        return _metrics(store.scores(rows, system.name, report.ks))

    return {
        "name": system.name,
        "about": system.about,
        "seconds": round(report.result.seconds[system.name], 3),
        "overall": metrics(report.overall()),
        "categories": {name: metrics(rows) for name, rows in report.by_category().items()},
    }


def _metrics(scores: Scores) -> dict[str, float]:
    recalls = {f"recall@{k}": value for k, value in scores.recall.items()}
    within = {f"recall@{budget}tokens": value for budget, value in scores.within.items()}
    ranks = {"mrr": scores.mrr, f"ndcg@{store.NDCG_K}": scores.ndcg}
    return {"questions": scores.questions, **recalls, **ranks, **within}


def _difference(difference: Difference, of: str, minus: str) -> dict[str, Any]:
    interval = difference.interval
    return {
        "metric": f"recall@{store.COMPARED_K}",
        "of": of,
        "minus": minus,
        "mean": difference.mean,
        "interval": None if interval is None else [interval.low, interval.high],
        "confidence": CONFIDENCE,
        "questions": difference.questions,
        "clusters": difference.clusters,
        "questions_better": difference.better,
        "questions_worse": difference.worse,
    }


def show(report: Report, out: Console) -> None:
    """Prints a run; `out` should neither wrap nor mark up."""
    dataset, result = report.dataset, report.result
    groups = "conversations" if dataset.clusters == "conversations" else "pool"
    size = f"{len(dataset.conversations)} {groups}, {dataset.turn_count:,} {dataset.unit}s"
    out.print(f"{report.file}: {size}, {len(result.rows):,} questions scored, {len(result.skipped)} skipped")
    out.print(_table(report))
    out.print(f"overall: {', '.join(report.counted)}; recall (R@k, R@tokens), MRR and nDCG in percent")
    out.print(f"{report.seconds:.1f} s in all")
    for system in report.systems:
        out.print(f"{system.name}: {system.about}; {result.seconds[system.name]:.1f} s")
    for name, difference in report.differences().items():
        out.print(_sentence(difference, name, report), style="bold")
    for skipped in result.skipped[:_SHOWN]:
        about = f"{skipped.conversation}, {skipped.category}"
        out.print(f"skipped, {skipped.reason} ({about}): {skipped.question}")
    if len(result.skipped) > _SHOWN:
        out.print(f"and {len(result.skipped) - _SHOWN} more skipped, all listed by --json")
    if result.partly_usable:
        out.print(
            f"{result.partly_usable} scored questions also name evidence that is no {dataset.unit}: ignored"
        )


def _table(report: Report) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("questions", no_wrap=True)
    table.add_column("n", justify="right")
    table.add_column("system", no_wrap=True)
    for heading in _headings(report):
        table.add_column(heading, justify="right")
    categories = report.by_category()
    for name, rows in {"overall": report.overall(), **(categories if len(categories) > 1 else {})}.items():
        for place, system in enumerate(report.systems):
            scores = store.scores(rows, system.name, report.ks)
            head = (name, f"{scores.questions:,}") if place == 0 else ("", "")
            table.add_row(*head, system.name, *_percents(scores))
        table.add_section()
    return table


def _headings(report: Report) -> list[str]:
    budgets = (f"R@{budget:,} tok." for budget in store.BUDGETS)
    return [*(f"R@{k}" for k in report.ks), "MRR", f"nDCG@{store.NDCG_K}", *budgets]


def _percents(scores: Scores) -> list[str]:
    values = (*scores.recall.values(), scores.mrr, scores.ndcg, *scores.within.values())
    return [f"{100 * value:.1f}" for value in values]


def _sentence(difference: Difference, of: str, report: Report) -> str:
    minus = report.systems[0].name
    text = f"{of} − {minus} in R@{store.COMPARED_K}: {100 * difference.mean:+.2f} points"
    if difference.interval is not None:
        low, high = 100 * difference.interval.low, 100 * difference.interval.high
        text += f", {100 * CONFIDENCE:.0f}% interval {low:+.2f} to {high:+.2f}"
    counts = f"{difference.questions:,} questions: {difference.better} better, {difference.worse} worse"
    return f"{text} ({counts}; clusters are {report.dataset.clusters}: {difference.clusters:,})"
