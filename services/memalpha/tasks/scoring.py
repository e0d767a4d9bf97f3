r"""How answers are scored: pure functions from an answer and a right one to a score between 0 and 1.

`strict` is the ledger's. The others are those of Mem-alpha's sources (arXiv 2509.25911, table of sources) and
the usual ones of question answering: `substring` for passages and several hops, `parts` for answers listed
with `;`, `label` for classes answered as `\boxed{12}`, `keywords` for summaries. One oddity of the paper's
code is not repeated: `parts` lower-cases both sides.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from memalpha.agent.wire.base import answer_start
from memalpha.errors import UnsupportedError, make
from memalpha.tasks.instance import Metric

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_BOXED = re.compile(r"\\boxed\{([^}]*)\}")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def score(metric: Metric, answer: str, answers: Sequence[str]) -> float:
    """The best score of an answer over the right ones.

    Args:
        metric: One of `memalpha.tasks.METRICS`.
        answer: What a reader said; a leading thought of a model is left out.
        answers: The right ones, at least one.

    Raises:
        UnsupportedError: `NEEDS_JUDGE`; only a model can score `judge`.
    """
    if metric not in _FUNCTIONS:
        message = f"metric {metric} needs a model as judge and cannot be computed"
        raise make(UnsupportedError, "NEEDS_JUDGE", message, metric=metric)
    said = answer[answer_start(answer) :].strip()
    return max(_FUNCTIONS[metric](said, each) for each in answers)


def strict(answer: str, right: str) -> float:
    """1 if both are the same text but for blanks around them."""
    return float(answer.strip() == right.strip())


def exact_match(answer: str, right: str) -> float:
    """1 if both are the same words, without case, punctuation and articles (SQuAD, arXiv 1606.05250)."""
    return float(_words(answer) == _words(right))


def f1(answer: str, right: str) -> float:
    """Harmonic mean of precision and recall over the words that `exact_match` compares, with counts."""
    said, wanted = _words(answer), _words(right)
    if not said or not wanted:
        return float(said == wanted)
    return _harmonic((Counter(said) & Counter(wanted)).total(), len(said), len(wanted))


def substring(answer: str, right: str) -> float:
    """1 if the right answer stands in the answer, whatever the case."""
    return float(right.lower() in answer.lower())


def parts(answer: str, right: str) -> float:
    """Share of the right answer's parts, between semicolons, that stand in the answer."""
    return _share(answer, right.split(";"))


def keywords(answer: str, right: str) -> float:
    """Share of the keywords, between commas, that stand in the answer."""
    return _share(answer, right.split(","))


def label(answer: str, right: str) -> float:
    r"""1 if the first `\boxed{}` of the answer holds the right number, quotes aside."""
    boxed = _BOXED.search(answer)
    said = boxed[1].strip().strip("\"'") if boxed else ""
    return float(said.isascii() and said.isdigit() and said == right.strip())


def rouge_l(answer: str, right: str) -> float:
    """F-measure of the longest common subsequence of words (Lin 2004), words as in `exact_match`."""
    said, wanted = _words(answer), _words(right)
    if not said or not wanted:
        return float(said == wanted)
    return _harmonic(_common(said, wanted), len(said), len(wanted))


_FUNCTIONS: dict[str, Callable[[str, str], float]] = {
    "strict": strict,
    "exact_match": exact_match,
    "f1": f1,
    "substring": substring,
    "parts": parts,
    "label": label,
    "keywords": keywords,
    "rouge_l": rouge_l,
}


def _words(text: str) -> list[str]:
    return _ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split()


def _share(answer: str, pieces: Iterable[str]) -> float:
    wanted = [piece.strip().lower() for piece in pieces if piece.strip()]
    return sum(piece in answer.lower() for piece in wanted) / len(wanted) if wanted else 0.0


def _harmonic(common: int, said: int, wanted: int) -> float:
    """Of the precision common / said and the recall common / wanted."""
    return 2 * common / (said + wanted)


def _common(first: Sequence[str], second: Sequence[str]) -> int:
    """Length of the longest common subsequence, row by row."""
    row = [0] * (len(second) + 1)
    for word in first:
        previous = 0
        for place, other in enumerate(second, start=1):
            above = row[place]
            row[place] = previous + 1 if word == other else max(above, row[place - 1])
            previous = above
    return row[-1]
