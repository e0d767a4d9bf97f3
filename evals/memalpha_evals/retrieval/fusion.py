"""How much should vectors weigh in a hybrid search? Recall by weight on several data sets at once.

The weight to choose is the one that gains most over search by words, as the mean of the sets, among the
weights that clearly lose on none of them: a weight chosen on one set alone is that set's. A loss is clear if
its interval does not reach above zero. Each memory is searched for
itself: neighbours and dates, which help words and vectors alike, are left out.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from memalpha.tasks.stats import Difference
from memalpha_evals.datasets import Conversation, Dataset, Question
from memalpha_evals.retrieval import store
from memalpha_evals.retrieval.encoders import Encoder
from memalpha_evals.retrieval.metrics import evidence_ranks, recall_at
from memalpha_evals.retrieval.retrievers import FUSED, VECTORS, WORDS, TurnBank, filled
from memalpha_evals.statistics import paired

WEIGHTS = tuple(step / 20 for step in range(21))
"""Weights of the vectors: from words alone to vectors alone."""

BASELINE = "words"

_WAYS: Mapping[str, Mapping[str, Any]] = {
    BASELINE: WORDS,
    "vectors": VECTORS,
    "rrf": {**FUSED, "fusion": "rrf"},
    **{f"{weight:.2f}": {**FUSED, "vector_weight": weight} for weight in WEIGHTS},
}
"""Ways to search, by the name that the table gives them."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """One data set: recall of each question of the overall row by way of searching, in one order."""

    dataset: Dataset
    recalls: dict[str, list[float]]
    clusters: list[str]

    def mean(self, way: str) -> float:
        """Mean recall."""
        return sum(self.recalls[way]) / len(self.recalls[way])

    def gain(self, way: str) -> Difference:
        """The way minus search by words."""
        return paired(self.recalls[way], self.recalls[BASELINE], self.clusters)


def sweep(dataset: Dataset, embedder: Literal["builtin"] | Encoder, progress: Callable[[int], None]) -> Sweep:
    """Searches every conversation in every way; `progress` is told of answered questions."""
    counted = dataset.categories()
    recalls: dict[str, list[float]] = {way: [] for way in _WAYS}
    clusters: list[str] = []
    for conversation in dataset.conversations:
        asked = _asked(conversation, counted)
        with filled(conversation.turns, embedder) as bank:
            for way, found in _rankings(bank, [one.text for one in asked]):
                recalls[way].extend(
                    recall_at(evidence_ranks(ids, one.evidence), len(one.evidence), store.COMPARED_K)
                    for ids, one in zip(found, asked, strict=True)
                )
                progress(len(asked))
        clusters.extend(dataset.cluster_of(conversation, place) for place in range(len(asked)))
    return Sweep(dataset, recalls, clusters)


def searches(dataset: Dataset) -> int:
    """How many searches a sweep takes."""
    counted = dataset.categories()
    return len(_WAYS) * sum(len(_asked(conversation, counted)) for conversation in dataset.conversations)


def _asked(conversation: Conversation, counted: Sequence[str]) -> list[Question]:
    return [one for one in conversation.questions if one.evidence and one.category in counted]


def _rankings(bank: TurnBank, questions: Sequence[str]) -> Iterator[tuple[str, list[list[str]]]]:
    for way, options in _WAYS.items():
        yield way, bank.search(questions, limit=store.COMPARED_K, **options)


def best_weight(gains: Mapping[float, Sequence[Difference]]) -> float | None:
    """The weight with the largest mean gain among those without a clear loss, the smaller of equals."""

    def mean(weight: float) -> float:
        return sum(gain.mean for gain in gains[weight]) / len(gains[weight])

    safe = [weight for weight in sorted(gains) if not any(map(_clear_loss, gains[weight]))]
    return max(safe, key=mean, default=None)


def _clear_loss(gain: Difference) -> bool:
    return gain.mean < 0 and (gain.interval is None or gain.interval.high <= 0)


def chosen(sweeps: Sequence[Sweep]) -> float | None:
    """The weight that these sets speak for."""
    return best_weight({weight: [one.gain(f"{weight:.2f}") for one in sweeps] for weight in WEIGHTS})


def document(sweeps: Sequence[Sweep], embedder: str) -> dict[str, Any]:
    """The JSON document of a sweep; keys in `evals/README.md`."""
    return {
        "embedder": embedder,
        "metric": f"recall@{store.COMPARED_K}",
        "baseline": BASELINE,
        "chosen": chosen(sweeps),
        "sets": [
            {
                "name": one.dataset.name,
                "sha256": one.dataset.sha256,
                "questions": len(one.clusters),
                "clusters": one.dataset.clusters,
                "ways": {way: _entry(one, way) for way in _WAYS},
            }
            for one in sweeps
        ],
    }


def _entry(one: Sweep, way: str) -> dict[str, Any]:
    gain = one.gain(way)
    interval = None if gain.interval is None else [gain.interval.low, gain.interval.high]
    return {"mean": one.mean(way), "gain": gain.mean, "interval": interval}


def show(sweeps: Sequence[Sweep], embedder: str, out: Console) -> None:
    """Prints a sweep; `out` should neither wrap nor mark up."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("search", no_wrap=True)
    for heading in (*(one.dataset.name for one in sweeps), "mean gain", "least gain"):
        table.add_column(heading, justify="right", no_wrap=True)
    gains = {way: [one.gain(way) for one in sweeps] for way in _WAYS}
    for way in _WAYS:
        cells = [_cell(100 * one.mean(way), gain) for one, gain in zip(sweeps, gains[way], strict=True)]
        means = [100 * gain.mean for gain in gains[way]]
        table.add_row(way, *cells, f"{sum(means) / len(means):+.2f}", f"{min(means):+.2f}")
    out.print(table)
    out.print(f"R@{store.COMPARED_K} in percent, and the gain over {BASELINE} with its 95% interval")
    out.print(f"numbers are weights of the vectors ({embedder}) in a hybrid search of the engine")
    weight = best_weight({weight: gains[f"{weight:.2f}"] for weight in WEIGHTS})
    verdict = f"{weight:.2f} has the largest mean gain" if weight is not None else "no weight is left"
    out.print(f"{verdict} of those that clearly lose on no set (interval not above zero)", style="bold")


def _cell(recall: float, gain: Difference) -> str:
    text = f"{recall:.1f} {100 * gain.mean:+.1f}"
    if gain.interval is None:
        return text
    return f"{text} [{100 * gain.interval.low:+.1f}, {100 * gain.interval.high:+.1f}]"
