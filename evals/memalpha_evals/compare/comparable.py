"""Why sides may not be compared: what differs besides the thing that is compared, or is not there yet.

Sides of one run agree by construction, once it is finished. Across runs the data, the questions, the budget,
the chunks and the reader have to be the same; a figure that differs for one of these reasons says nothing
about the systems.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from memalpha.errors import InvalidInputError, make
from memalpha_evals.compare.facts import Facts
from memalpha_evals.compare.sides import Side

_SHOWN = 200
"""Most characters of a value in a message."""

_RULES: dict[str, Callable[[Facts], Any]] = {
    "data set": lambda facts: facts.dataset,
    "sha256 of the data": lambda facts: facts.sha256,
    "sha256 of chunks and questions": lambda facts: facts.streams_sha256,
    "budget of tokens": lambda facts: facts.budget,
    "tokens of a chunk": lambda facts: facts.chunk_tokens,
    "reader": lambda facts: facts.reader,
    "reader's identity": lambda facts: json.dumps(facts.reader_identity, sort_keys=True),
}


def unlike(sides: Sequence[Side]) -> list[str]:
    """What speaks against a comparison, a sentence each; empty: comparable.

    That is what differs between the first side and the others, and runs of which rows are missing.
    """
    first, *others = sides
    found = [unfinished(side) for side in sides if not side.facts.done]
    found += [sentence for other in others for sentence in _unlike(first, other)]
    return list(dict.fromkeys(found))


def unfinished(side: Side) -> str:
    """What is to be said of a side whose run has not all its rows."""
    return f"finished: {side.run} is not; rows are missing, and not at random"


def require_comparable(sides: Sequence[Side], more: Sequence[str] = ()) -> None:
    """Refuses a comparison that would mislead.

    Args:
        sides: Of all groups.
        more: What else speaks against it.

    Raises:
        InvalidInputError: NOT_COMPARABLE; it lists what differs.
    """
    if reasons := [*unlike(sides), *more]:
        listed = "; ".join(reasons)
        message = f"these runs are not comparable: {listed}. --anyway compares them and lists this"
        raise make(InvalidInputError, "NOT_COMPARABLE", message, differences=listed)


def other_judges(sides: Sequence[Side], score: str) -> list[str]:
    """As `unlike`, of a score that a model gave: by another model, prompt or votes it is another score."""
    first, *others = sides
    ours = first.facts.judges.get(score)
    return [
        f"judge of {score}: {first.run} has {_short(ours)}, {other.run} has {_short(theirs)}"
        for other in others
        if (theirs := other.facts.judges.get(score)) != ours
    ]


def _unlike(first: Side, other: Side) -> Iterator[str]:
    for name, value in _RULES.items():
        ours, theirs = value(first.facts), value(other.facts)
        if ours != theirs:
            yield f"{name}: {first.run} has {_short(ours)}, {other.run} has {_short(theirs)}"
    if sentence := _questions(first, other):
        yield sentence


def _questions(first: Side, other: Side) -> str:
    """Rows that are missing on one side would be chosen by what they score."""
    if first.rows.keys() != other.rows.keys():
        ours, theirs = (len(a.rows.keys() - b.rows.keys()) for a, b in ((first, other), (other, first)))
        return f"questions: {ours} are only in {first.name}, {theirs} only in {other.name}"
    changed = sum(
        (row.question, row.answers, row.options)
        != (other.rows[key].question, other.rows[key].answers, other.rows[key].options)
        for key, row in first.rows.items()
    )
    return f"questions: {changed} have another wording or other right answers" if changed else ""


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
