r"""Each benchmark's own scorer under its name, faults and all, for comparisons with published figures.

Which ones a row gets follows from its suite's name, and from `metric`, which `memalpha.tasks.scoring`
computes. Where a paper needs a model as judge (LongMemEval, BEAM), there is no score here. Known faults are
kept and stated where they are: `canaries.CAPS` says how far they reach.
"""

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import snowballstemmer

from memalpha.agent.wire.base import answer_start
from memalpha.tasks.scoring import score as task_score
from memalpha_evals.rows import Row

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_SQUAD_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_LOCOMO_ARTICLES = re.compile(r"\b(?:a|an|the|and)\b")
_BOXED = re.compile(r"\\boxed\{([^{}]*)\}")
_BRACKETED = re.compile(r"\(([a-d])\)")
_ALONE = re.compile(r"\b([a-d])\b")
_NOT_SAID = ("no information available", "not mentioned")
_PLACES = ("bathroom", "bedroom", "garden", "hallway", "kitchen", "office")
_BABI: dict[str, tuple[str, ...]] = {
    **{f"qa{task}": _PLACES for task in (1, 2, 3, 4, 11, 12, 13)},
    **{f"qa{task}": ("no", "yes") for task in (6, 9, 17, 18)},
    "qa5": ("bill", "fred", "jeff", "mary", "apple", "football", "milk"),
    "qa7": ("none", "one", "three", "two"),
    "qa8": ("apple", "football", "milk", "nothing"),
    "qa10": ("maybe", "no", "yes"),
    "qa14": ("bedroom", "cinema", "kitchen", "office", "park", "school"),
    "qa15": ("cat", "mouse", "sheep", "wolf"),
    "qa16": ("gray", "green", "white", "yellow"),
    "qa19": tuple(map(",".join, ("ee", "en", "es", "ne", "nn", "nw", "se", "ss", "sw", "wn", "ws", "ww"))),
    "qa20": ("bedroom", "bored", "garden", "hungry", "kitchen", "thirsty", "tired"),
}
"""Labels of a task, as `babilong/metrics.py` of booydar/babilong @ 7a6efee has them."""
_stemmer = snowballstemmer.stemmer("porter")


class Paper(NamedTuple):
    """A benchmark's scorers, and where they are described."""

    source: str
    scorers: dict[str, Callable[[Row, str], float]]


def scores(row: Row) -> dict[str, float]:
    """The scores of a row that did not fail, by name; none where the data has no right answer."""
    if not row.answers and not row.unanswerable:
        return {}
    said = row.answer[answer_start(row.answer) :].strip()
    found = {name: of(row, said) for name, of in paper(row.dataset).scorers.items()}
    if row.metric not in ("", "judge") and not row.unanswerable and not row.options:
        found[row.metric] = task_score(row.metric, said, row.answers)  # type: ignore[arg-type]
    return found


def paper(dataset: str) -> Paper:
    """The benchmark that a suite is of: the longest known beginning of its name."""
    known = [name for name in PAPERS if dataset == name or dataset.startswith(f"{name}-")]
    return PAPERS[max(known, key=len)] if known else Paper("", {})


def locomo_f1(row: Row, said: str) -> float:
    """F1 of Porter stems; several answers between commas, the first of several between semicolons.

    Abstaining counts only in two fixed wordings. A comma inside an answer to a multi-hop question cuts it.
    """
    if row.unanswerable:
        return float(any(phrase in said.lower() for phrase in _NOT_SAID))
    right = row.answers[0]
    if row.category == "open-domain":
        right = right.split(";")[0].strip()
    if row.category != "multi-hop":
        return _stem_f1(said, right)
    parts = [part.strip() for part in right.split(",")]
    return sum(max(_stem_f1(each, part) for each in said.split(",")) for part in parts) / len(parts)


def sub_em(row: Row, said: str) -> float:
    """1 if either stands in the other, letter by letter: `The` is empty and matches all, `1` is in `1961`."""
    text = _squad(_boxed(said))
    return float(any(right in text or text in right for right in map(_squad, row.answers)))


def squad_em(row: Row, said: str) -> float:
    """1 if both are the same without case, punctuation and articles."""
    return float(any(_squad(_boxed(said)) == right for right in map(_squad, row.answers)))


def squad_f1(row: Row, said: str) -> float:
    """F1 of words; yes, no and noanswer are right or wrong, whole."""
    return max(_squad_f1(_squad(_boxed(said)), right) for right in map(_squad, row.answers))


def substring_exact_match(row: Row, said: str) -> float:
    """1 if a right answer stands in what is said, letter by letter: `4` is in `label: 43`."""
    return float(any(right in _squad(said) for right in map(_squad, row.answers)))


def exact_match(row: Row, said: str) -> float:
    """1 if both are the same without case, punctuation and articles."""
    return float(any(_squad(said) == right for right in map(_squad, row.answers)))


def letter(row: Row, said: str) -> float:
    """1 if the only letter after `<final_answer>`, or else in all of it, is the right one.

    An article `a` is a letter too.
    """
    tail = said.rsplit("<final_answer>", 1)[-1].strip().removesuffix("</final_answer>")
    right = {row.answers[0].lower()}
    return float(right in (_letters(tail), _letters(said)))


def babilong(row: Row, said: str) -> float:
    """1 if the first sentence names the right label or labels, and no other one that the question lacks."""
    target = row.answers[0].lower()
    # `apple,milk` is two labels, `e,n` is one
    right = set(target.split(",")) if len(target) > 3 else {target}
    first = said.lower().split(".")[0].split("<context>")[0].split("<example>")[0]
    labels = _BABI.get(row.category, tuple(right))
    return float({label for label in labels if label in first and label not in row.question.lower()} == right)


PAPERS: dict[str, Paper] = {
    "locomo": Paper("LoCoMo, arXiv 2402.17753", {"locomo_f1": locomo_f1}),
    **{
        name: Paper(
            "MemAgent, arXiv 2507.02259; MemOCR, arXiv 2601.21468",
            {"sub_em": sub_em, "squad_em": squad_em, "squad_f1": squad_f1},
        )
        for name in ("hotpotqa", "2wiki", "nq", "musique", "triviaqa", "ruler-qa")
    },
    "memoryagentbench": Paper(
        "MemoryAgentBench, arXiv 2507.05257",
        {"substring_exact_match": substring_exact_match, "exact_match": exact_match},
    ),
    "personamem": Paper("PersonaMem, arXiv 2504.14225", {"letter": letter}),
    "babilong": Paper("BABILong, arXiv 2406.10149", {"babilong": babilong}),
    "longmemeval": Paper("LongMemEval, arXiv 2410.10813: a model judges", {}),
    "beam": Paper(
        "BEAM, arXiv 2510.27246: a model judges, see `evals judge run` with prompts `rubric` and `order`", {}
    ),
}


def _stem_f1(said: str, right: str) -> float:
    ours, theirs = (_stems(text) for text in (said, right))
    common = (Counter(ours) & Counter(theirs)).total()
    return 2 * common / (len(ours) + len(theirs)) if common else 0.0


def _stems(text: str) -> list[str]:
    plain = text.replace(",", "").lower().translate(_PUNCTUATION)
    return _stemmer.stemWords(_LOCOMO_ARTICLES.sub(" ", plain).split())


def _squad(text: str) -> str:
    return " ".join(_SQUAD_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def _squad_f1(said: str, right: str) -> float:
    if said != right and {said, right} & {"yes", "no", "noanswer"}:
        return 0.0
    ours, theirs = said.split(), right.split()
    common = (Counter(ours) & Counter(theirs)).total()
    return 2 * common / (len(ours) + len(theirs)) if common else 0.0


def _boxed(said: str) -> str:
    found: Sequence[str] = _BOXED.findall(said)
    return found[-1] if found else said


def _letters(text: str) -> set[str]:
    lowered = text.lower()
    return set(_BRACKETED.findall(lowered) or _ALONE.findall(lowered))
