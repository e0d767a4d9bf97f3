"""How well an answer has events in their order, as BEAM's code scores it (arXiv 2510.27246).

Formula and faults are those of `event_ordering_score` in `src/evaluation/compute_metrics.py`, and of what
`report_results.py` averages, mohammadtavakoli78/BEAM @ b2a3ee8: Kendall's tau-b between both orders, over all
events of either, those that an order lacks tied at its end; moved to 0..1. So an order that knows nothing is
worth about one half of one that is right, one without any right event is not quite 0, and what is left out
costs little: naming only the first of three events gives .91, of ten .72. Their code also multiplies it by
the F1 of the events, which sees what is missing and what is too much, as `final_score`, and averages that
nowhere: it is `complete_score` here. One event that is named is right; their code gives no number there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from math import sqrt


def aligned(lines: Sequence[str], nuggets: Sequence[str], same: Sequence[Sequence[bool]]) -> list[str]:
    """Lines, each replaced by the first nugget that is the same event and that no line before it took.

    Args:
        lines: Of an answer.
        nuggets: The right events.
        same: For each line, whether each nugget is its event.
    """
    free, found = list(range(len(nuggets))), list[str]()
    for line, row in zip(lines, same, strict=True):
        place = next((each for each in free if row[each]), None)
        if place is not None:
            free.remove(place)
        found.append(line if place is None else nuggets[place])
    return found


def order_score(right: Sequence[str], said: Sequence[str]) -> float:
    """(tau-b + 1) / 2 of two orders; where all are ties, 1 if both are the same, else 0."""
    union = list(dict.fromkeys([*right, *said]))
    if union == list(dict.fromkeys(right)) == list(dict.fromkeys(said)):
        return float(bool(union))
    tau = tau_b(_ranks(right, union), _ranks(said, union))
    return 0.0 if tau is None else (tau + 1) / 2


def complete_score(right: Sequence[str], said: Sequence[str]) -> float:
    """`order_score` times the F1 of the events, for which each line that is no right event counts."""
    found, wrong = len({*right} & {*said}), sum(each not in right for each in said)
    missed = sum(each not in said for each in right)
    f1 = 2 * found / (2 * found + wrong + missed) if found else 0.0
    return order_score(right, said) * f1


def tau_b(first: Sequence[int], second: Sequence[int]) -> float | None:
    """Kendall's rank correlation with ties (Kendall 1945); None if one side is all ties."""
    pairs = list(combinations(range(len(first)), 2))
    signs = [(_sign(first[one] - first[two]), _sign(second[one] - second[two])) for one, two in pairs]
    untied = (len(pairs) - _tied(first)) * (len(pairs) - _tied(second))
    return sum(one * two for one, two in signs) / sqrt(untied) if untied else None


def _ranks(order: Sequence[str], union: Sequence[str]) -> list[int]:
    """Places in an order; of an event that is there twice the last, of one that is not there the end."""
    places = {event: place for place, event in enumerate(order)}
    return [places.get(event, len(union)) for event in union]


def _sign(difference: int) -> int:
    return (difference > 0) - (difference < 0)


def _tied(ranks: Sequence[int]) -> int:
    """Pairs of equal ranks."""
    return sum(count * (count - 1) // 2 for count in Counter(ranks).values())
