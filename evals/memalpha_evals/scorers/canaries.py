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
from memalpha_evals.scorers.containment import CLOSED
from memalpha_evals.scorers.words import CALENDAR, words

Score = Callable[[Row], Mapping[str, float]]

ABSTENTION = "No answer: that is not mentioned."
_JOINS = ("\N{RIGHTWARDS ARROW}", "=>", ">", "~", "\\", "vs", "then", "plus", "\N{IDEOGRAPHIC COMMA}")
_NAMES = (
    *("Oslo", "Bonn", "Kiel", "Bern", "Graz", "Linz", "Pisa", "Nice", "Lyon", "Bath"),
    *("York", "Hull", "Cork", "Oban", "Ayr", "Vigo", "Faro", "Brno", "Riga", "Bari"),
)
_NOT_MENTIONED = "Not mentioned: {}"
"""Our scorers take it for abstaining."""
_EXAMPLES = Path(__file__).with_name("canary_rows.json")


def _another(rows: Sequence[Row]) -> list[str]:
    """To each row the right answer to the next row that has one."""
    right = [row.answers[0] if row.answers and not row.unanswerable else "" for row in rows]
    return [
        next((each for each in [*right[place + 1 :], *right[:place]] if each), "")
        for place in range(len(rows))
    ]


def _list(join: str, form: str = "{}", others: int = 8) -> Callable[[Sequence[Row]], list[str]]:
    """To each row the right answers to it and to so many rows around it, in alphabetical order."""

    def answers(rows: Sequence[Row]) -> list[str]:
        right = [row.answers[0] for row in rows if row.answers and not row.unanswerable and not row.options]
        around = (dict.fromkeys([*row.answers[:1], *right[at:], *right[:at]]) for at, row in enumerate(rows))
        return [join.join(form.format(each) for each in sorted([*found][: others + 1])) for found in around]

    return answers


def _always(answer: str) -> Callable[[Sequence[Row]], list[str]]:
    return lambda rows: [answer for _ in rows]


def _among_names(rows: Sequence[Row]) -> list[str]:
    """To each row the right answer in a row of names without marks."""
    return [" ".join([*_NAMES[:10], *row.answers[:1], *_NAMES[10:]]) for row in rows]


def _denial(form: str) -> Callable[[Sequence[Row]], list[str]]:
    """To each row a denial of the right answer; where there is none, or it is yes or no, just `neither`."""

    def answers(rows: Sequence[Row]) -> list[str]:
        right = [row.answers[0] if row.answers and not row.unanswerable else "" for row in rows]
        return [form.format(each) if words(each) not in ([], *CLOSED) else "neither" for each in right]

    return answers


LISTS: dict[str, Callable[[Sequence[Row]], list[str]]] = {
    "list": _list(", "),
    "ampersands": _list(" & "),
    "bullets": lambda rows: [f"\N{BULLET} {each}" for each in _list(" \N{BULLET} ")(rows)],
    "long items": _list(", ", "it could be {}", others=4),
    "lead": lambda rows: [f"I would say that it may be {each}" for each in _list(", ", others=6)(rows)],
    "names": _among_names,
    "brackets": _list(" ", "[{}]"),
    "quotes": _list(" ", '"{}"'),
    "maybes": _list(" maybe "),
    **{f"joined by {join}": _list(f" {join} ") for join in _JOINS},
}
DENIALS: dict[str, Callable[[Sequence[Row]], list[str]]] = {
    form: _denial(form)
    for form in (
        "It is not {}",
        "everywhere except {}",
        "anything but {}",
        'not "{}"',
        "{}? No.",
        "{}? Not really",
    )
} | {_NOT_MENTIONED: _denial(_NOT_MENTIONED)}
CANARIES: dict[str, Callable[[Sequence[Row]], list[str]]] = {
    "abstains": _always(ABSTENTION),
    "yes": _always("yes"),
    "no": _always("no"),
    "yes or no": _always("yes or no"),
    **LISTS,
    "calendar": _always(" ".join(name.title() for name in CALENDAR)),
    "nobody knows": _always("I think no one knows"),
    "numbers": _always(" ".join(map(str, range(1, 21)))),
    "counted": _always(" ".join(f"{number} weeks" for number in range(1, 11))),
    "spelled": _always(
        " ".join(f"{number} times" for number in ("one", "two", "three", "four", "five", "six"))
    ),
    "ranks": _always("first second third fourth fifth"),
    "weekdays": _always("She bakes on Thursday, Friday, Saturday, Sunday and Monday"),
    **DENIALS,
    "echo": lambda rows: [row.context for row in rows],
    "another's": _another,
    "empty": _always(""),
    "The": _always("The"),
}

DEFAULT_CAPS = {**dict.fromkeys(CANARIES, 0.0), "echo": 0.1, "another's": 0.1}
"""A few shared words are no fault; what has no word of the right answer earns nothing."""

_BAG = "words are counted wherever they stand: neither negation nor choice is seen"
_SHARED = "it has a word of a long right answer"
_COUNTED = dict.fromkeys(("numbers", "calendar", "counted", "spelled", "ranks", "weekdays"), 0.05)
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
            "strict.f1": {"yes or no": 0.05, **_COUNTED},
            "paper.f1": {"yes or no": 0.1, "weekdays": 0.1},
            "paper.locomo_f1": {"yes or no": 0.05, **_COUNTED},
            "paper.rouge_l": {"weekdays": 0.2},
        }.items()
        for canary, cap in caps.items()
    },
    **{
        (scorer, canary): (cap, _BAG)
        for scorer, cap in {
            "strict.f1": 0.25,
            "paper.f1": 0.5,
            "paper.locomo_f1": 0.4,
            "paper.squad_f1": 0.2,
            "paper.rouge_l": 0.6,
        }.items()
        for canary in LISTS
    },
    **{
        (scorer, canary): (cap, _BAG)
        for scorer, cap in {
            "strict.f1": 0.75,
            "paper.f1": 0.95,
            "paper.locomo_f1": 0.75,
            "paper.squad_f1": 0.6,
            "paper.rouge_l": 1.0,
        }.items()
        for canary in DENIALS
        if (scorer, canary) != ("strict.f1", _NOT_MENTIONED)
    },
    **{
        (f"paper.{scorer}", canary): (1.0, _ANYWHERE)
        for scorer in ("sub_em", "substring_exact_match", "substring", "parts", "keywords")
        for canary in (*LISTS, *DENIALS, "echo")
    },
    **{("paper.letter", canary): (1.0, _ANYWHERE) for canary in (*LISTS, *DENIALS)},
    **{("paper.babilong", canary): (1.0, _ANYWHERE) for canary in (*DENIALS, "names")},
    ("paper.locomo_f1", "nobody knows"): (0.05, _SHARED),
    ("paper.sub_em", "nobody knows"): (0.2, "letters: `no` stands in `knows`"),
    ("paper.sub_em", "calendar"): (0.2, "letters: `no` stands in `november`"),
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
