"""Classification by example: labelled sentences are told, others are to be labelled.

Labels are numbers, dealt anew for each conversation: what they mean is in the examples and nowhere else. One
sentence of every label is told, then others at random up to a number of tokens, all in random order. What is
asked is from the test file, or, where a set has none, from a fifth of the sentences that is never told. A
test sentence that the training file has too, whatever its case, is not asked.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from random import Random

from memalpha.tasks.data.builders.labels import ASK
from memalpha.tasks.data.readers.files import DatasetError, digest
from memalpha.tasks.data.readers.labels import Example
from memalpha_evals.datasets.base import Conversation, Dataset, Question, Turn
from memalpha_evals.datasets.draws import ALL, Draw
from memcore import count_tokens

CONVERSATIONS = 5
"""Conversations unless a draw says otherwise: the fewest that allow for an interval."""
QUESTIONS = 40
"""Questions of each conversation."""
TOLD_TOKENS = 10_000
"""o200k tokens of examples in a conversation, more only if one example of every label needs more."""
ONE_FILE = "The set has no test file here: one in five sentences is kept apart and asked."


@dataclass(frozen=True, slots=True)
class Labels:
    """A set of labelled sentences; `asked` is empty if there is no test file."""

    name: str
    told: Sequence[Example]
    asked: Sequence[Example]
    paths: tuple[Path, ...]
    licence: str
    caveats: tuple[str, ...] = ()


def read(labels: Labels, draw: Draw = ALL) -> Dataset:
    """Conversations of a set.

    Raises:
        DatasetError: nothing is left to ask.
    """
    told, asked = _apart(labels)
    numbers = range(draw.conversations or CONVERSATIONS)
    return Dataset(
        name=labels.name,
        sha256=sha256("".join(map(digest, labels.paths)).encode()).hexdigest(),
        conversations=tuple(_conversation(told, asked, Random(f"{draw.seed} {n}"), n) for n in numbers),
        unit="passage",
        licence=labels.licence,
        caveats=labels.caveats if labels.asked else (*labels.caveats, ONE_FILE),
        metric="label",
    )


def _apart(labels: Labels) -> tuple[list[Example], list[Example]]:
    """What may be told and what may be asked; they share no sentence, and every asked label can be told."""
    told = _distinct(labels.told)
    if labels.asked:
        known = {example.text.lower() for example in told}
        asked = [each for each in _distinct(labels.asked) if each.text.lower() not in known]
    else:
        asked = [each for each in told if _kept_apart(each)]
        told = [each for each in told if not _kept_apart(each)]
    tellable = {example.label for example in told}
    asked = [each for each in asked if each.label in tellable]
    if not asked:
        raise DatasetError(f"{labels.paths[-1].name} leaves no sentence of {labels.name} to be asked")
    return told, asked


def _distinct(examples: Iterable[Example]) -> list[Example]:
    """Each sentence once, whatever its case, with the label that it first has."""
    return list({example.text.lower(): example for example in reversed(list(examples))}.values())[::-1]


def _kept_apart(example: Example) -> bool:
    """By the sentence itself, so that no order of the file matters."""
    return sha256(example.text.lower().encode()).digest()[0] % 5 == 0


def _conversation(
    told: Sequence[Example], asked: Sequence[Example], rng: Random, number: int
) -> Conversation:
    labels = sorted({example.label for example in told})
    numbers = dict(zip(rng.sample(labels, len(labels)), range(len(labels)), strict=True))
    lines = {_line(example, numbers): example for example in _fitting(told, rng)}
    order = rng.sample(list(lines), len(lines))
    turns = tuple(Turn(f"E{place}", line, "") for place, line in enumerate(order))
    places: dict[str, set[str]] = {}
    for turn in turns:
        places.setdefault(lines[turn.text].label, set()).add(turn.id)
    questions = (
        _question(example, numbers, places) for example in rng.sample(asked, min(QUESTIONS, len(asked)))
    )
    return Conversation(f"examples-{number}", turns, tuple(questions))


def _fitting(told: Sequence[Example], rng: Random) -> Iterator[Example]:
    """The first example of each label in random order, then others while there is room."""
    order = rng.sample(told, len(told))
    first = {example.label: example for example in reversed(order)}
    chosen = set(first.values())
    room = TOLD_TOKENS
    for example in (*first.values(), *(each for each in order if each not in chosen)):
        room -= count_tokens(example.text) + 8  # the words around it, as `_line` has them
        if room < 0 and example not in chosen:
            return
        yield example


def _line(example: Example, numbers: Mapping[str, int]) -> str:
    return f"Sentence: {example.text}\nLabel: {numbers[example.label]}"


def _question(example: Example, numbers: Mapping[str, int], places: Mapping[str, set[str]]) -> Question:
    return Question(
        text=f"Sentence: {example.text}\n{ASK}",
        category=example.label,
        answer=str(numbers[example.label]),
        evidence=frozenset(places[example.label]),
        bad_evidence=(),
    )
