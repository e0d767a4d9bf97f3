"""Answers that know nothing, and how much a scorer may give them: more, and the scorer is broken.

Each canary answers all rows in its own way. Its mean under a scorer may not be above the scorer's cap, plus
the share of the rows that the canary answers rightly after all, such as `yes` where yes is right, plus what
guessing gives among options. `CAPS` states where a benchmark's own scorer is known to give more: the fault
stays, with its reason, and `evals canary` shows it.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

from memalpha_evals import scorers
from memalpha_evals.rows import Row

Score = Callable[[Row], Mapping[str, float]]

ABSTENTION = "No answer: that is not mentioned."
_LISTED = 8
_EXAMPLES = Path(__file__).with_name("canary_rows.json")


def _another(rows: Sequence[Row]) -> list[str]:
    """To each row the right answer to the next row that has one."""
    right = [row.answers[0] if row.answers and not row.unanswerable else "" for row in rows]
    return [
        next((each for each in [*right[place + 1 :], *right[:place]] if each), "")
        for place in range(len(rows))
    ]


def _list(rows: Sequence[Row]) -> list[str]:
    """To each row the right answers to it and to the rows around it, in alphabetical order."""
    right = [row.answers[0] for row in rows if row.answers and not row.unanswerable and not row.options]
    return [", ".join(sorted({*row.answers[:1], *_around(right, place)})) for place, row in enumerate(rows)]


def _around(right: Sequence[str], place: int) -> list[str]:
    return [right[(place + step) % len(right)] for step in range(_LISTED)] if right else []


def _always(answer: str) -> Callable[[Sequence[Row]], list[str]]:
    return lambda rows: [answer for _ in rows]


CANARIES: dict[str, Callable[[Sequence[Row]], list[str]]] = {
    "abstains": _always(ABSTENTION),
    "yes": _always("yes"),
    "no": _always("no"),
    "yes or no": _always("yes or no"),
    "list": _list,
    "numbers": _always(" ".join(map(str, range(1, 21)))),
    "denial": lambda rows: [f"It is not {row.answers[0]}" if row.answers else "no" for row in rows],
    "echo": lambda rows: [row.context for row in rows],
    "another's": _another,
    "empty": _always(""),
    "The": _always("The"),
}

DEFAULT_CAPS = {**dict.fromkeys(CANARIES, 0.0), "echo": 0.1, "another's": 0.1}
"""A few shared words are no fault; what has no word of the right answer earns nothing."""

_BAG = "words are counted wherever they stand: neither negation nor choice is seen"
_SHARED = "it has a word of a long right answer"
_ANYWHERE = "all that stands anywhere in the answer counts, however long it is"
CAPS: dict[tuple[str, str], tuple[float, str]] = {
    ("paper.rouge_l", "abstains"): (0.25, _SHARED),
    ("paper.f1", "abstains"): (0.2, _SHARED),
    ("paper.f1", "yes"): (0.15, _SHARED),
    ("paper.locomo_f1", "abstains"): (0.1, _SHARED),
    ("paper.locomo_f1", "yes"): (0.1, _SHARED),
    **{
        (scorer, canary): (cap, _BAG)
        for scorer, caps in {
            "strict.f1": {"yes or no": 0.05, "numbers": 0.05, "list": 0.25, "denial": 0.6},
            "paper.f1": {"yes or no": 0.1, "list": 0.5, "denial": 0.85},
            "paper.locomo_f1": {"yes or no": 0.05, "numbers": 0.05, "list": 0.4, "denial": 0.6},
            "paper.squad_f1": {"list": 0.2, "denial": 0.5},
            "paper.rouge_l": {"list": 0.6, "denial": 1.0},
        }.items()
        for canary, cap in caps.items()
    },
    **{
        (f"paper.{scorer}", canary): (1.0, _ANYWHERE)
        for scorer in ("sub_em", "substring_exact_match", "substring", "parts", "keywords")
        for canary in ("list", "denial", "echo")
    },
    **{("paper.letter", canary): (1.0, _ANYWHERE) for canary in ("list", "denial")},
    ("paper.babilong", "denial"): (1.0, _ANYWHERE),
    ("paper.sub_em", "no"): (0.2, "letters: `no` stands in `nowhere`"),
    ("paper.sub_em", "yes or no"): (0.3, "either way: the right answer `yes` stands in it"),
    ("paper.sub_em", "The"): (1.0, "it becomes nothing, and nothing stands in every right answer"),
    ("paper.sub_em", "empty"): (1.0, "nothing stands in every right answer; the paper drops such rows"),
    ("paper.sub_em", "yes"): (0.2, "letters: `yes` stands in `eyes`"),
    ("paper.sub_em", "abstains"): (0.2, "letters: `no` stands in `not`"),
}
"""Faults of scorers that the examples show: scorer and canary, the cap and the reason."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one canary got from one scorer, over the rows that have this score.

    Attributes:
        share: Its mean score.
        cap: The most it may be.
        fault: Why the cap is above the default; empty where it is not.
    """

    canary: str
    scorer: str
    share: float
    cap: float
    rows: int
    fault: str

    @property
    def beaten(self) -> bool:
        """The scorer gave more than it may."""
        return self.share > self.cap + 1e-9


def examples() -> list[Row]:
    """Made-up rows of every kind and every benchmark's form."""
    return [Row.from_dict(raw) for raw in json.loads(_EXAMPLES.read_text("utf-8"))]


def check(rows: Sequence[Row], score: Score = scorers.score) -> list[Finding]:
    """Sends all canaries through a scorer, on the rows of a run or on `examples()`."""
    return [
        finding
        for canary, answers in CANARIES.items()
        for finding in _findings(canary, rows, answers(rows), score)
    ]


def _findings(canary: str, rows: Sequence[Row], answers: Sequence[str], score: Score) -> list[Finding]:
    given: dict[str, list[tuple[float, float]]] = {}
    for row, answer in zip(rows, answers, strict=True):
        allowed = _allowed(canary, row, answer)
        for name, value in score(replace(row, answer=answer, failure="")).items():
            given.setdefault(name, []).append((value, allowed))
    return [_finding(canary, name, pairs) for name, pairs in given.items()]


def _finding(canary: str, scorer: str, pairs: Sequence[tuple[float, float]]) -> Finding:
    base, fault = CAPS.get((scorer, canary), (DEFAULT_CAPS[canary], ""))
    allowed = fmean(each for _, each in pairs)
    return Finding(
        canary, scorer, fmean(each for each, _ in pairs), min(1, base + allowed), len(pairs), fault
    )


def _allowed(canary: str, row: Row, answer: str) -> float:
    """What the row may give: all if the canary is right by chance, a guess's share among options."""
    said = answer.strip().casefold()
    if (canary == "abstains" and row.unanswerable) or said in {
        each.strip().casefold() for each in row.answers
    }:
        return 1.0
    return 1 / len(row.options) if row.options and canary in ("echo", "another's") else 0.0
