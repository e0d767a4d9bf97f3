"""Classification by example: labelled sentences are told, new ones are to be labelled.

Labels are numbers, dealt anew for each instance, so that what they mean is in the examples and nowhere else.
One sentence of every label is told, then others at random, all in random order; the questions are other
sentences of the same file.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from memalpha.tasks.data.draft import Draft, Job
from memalpha.tasks.data.frames import EXAMPLES, Frame
from memalpha.tasks.data.packing import Packing, draw_targets
from memalpha.tasks.data.readers.files import DatasetError
from memalpha.tasks.data.readers.labels import Example
from memalpha.tasks.instance import Instance, Question

ASK = "Which number would I give this sentence? Put the number in \\boxed{}."


def build(rows: Iterable[Example], job: Job) -> Iterator[Instance]:
    """Instances drawn from all rows, as many as the limits say: any number can be drawn.

    Raises:
        DatasetError: the limits set no number, or a label has too few sentences to be told and asked.
    """
    if not job.limits.instances:
        raise DatasetError(
            f"instances must be 1 or more for {job.source}: its instances are drawn without end"
        )
    pool = list(dict.fromkeys(rows))
    by_text = {example.text.lower(): example for example in pool}
    examples = [example for example in pool if by_text[example.text.lower()] == example]
    for number in range(1, job.limits.instances + 1):
        draft = job.draft(number)
        if instance := _instance(examples, draft):
            yield instance


def _instance(examples: list[Example], draft: Draft) -> Instance | None:
    numbers = _numbers(examples, draft)
    order = list(_each_label_first(draft.rng.sample(examples, len(examples))))
    targets = draw_targets(draft.limits, draft.rng)
    fitting = _tell(order, numbers, draft, targets)
    told = draft.rng.sample(fitting.told, len(fitting.told))
    telling = _tell(told, numbers, draft, targets)
    asked = [example for example in order[len(told) :] if example.label in telling.places]
    draft.questions += [
        _question(example, numbers, telling.places) for example in asked[: draft.limits.questions[1]]
    ]
    return draft.finish(Frame(EXAMPLES, draft.rng).tell(telling.packing.bodies()))


@dataclass(slots=True)
class _Telling:
    """What fits into an instance's chunks, and where each label is told."""

    packing: Packing
    told: list[Example] = field(default_factory=list)
    places: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))


def _tell(
    order: Iterable[Example], numbers: Mapping[str, int], draft: Draft, targets: Sequence[int]
) -> _Telling:
    """Tells examples in order, up to the first that does not fit."""
    telling = _Telling(Packing(targets, draft.limits.chunk_tokens[1], separator="\n"))
    for example in order:
        pieces = telling.packing.add(f"Sentence: {example.text}\nLabel: {numbers[example.label]}")
        if pieces is None:
            break
        telling.told.append(example)
        telling.places[example.label] |= set(pieces)
    return telling


def _numbers(examples: list[Example], draft: Draft) -> Mapping[str, int]:
    labels = sorted({example.label for example in examples})
    return dict(zip(draft.rng.sample(labels, len(labels)), range(len(labels)), strict=True))


def _each_label_first(order: list[Example]) -> Iterator[Example]:
    """The first example of each label, then the others, in the given order."""
    first: dict[str, Example] = {}
    for example in order:
        first.setdefault(example.label, example)
    chosen = set(first.values())
    yield from first.values()
    yield from (example for example in order if example not in chosen)


def _question(example: Example, numbers: Mapping[str, int], places: Mapping[str, set[int]]) -> Question:
    return Question(
        f"Sentence: {example.text}\n{ASK}",
        (str(numbers[example.label]),),
        "label",
        tuple(sorted(places[example.label])),
        example.label,
    )
