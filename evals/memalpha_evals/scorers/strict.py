r"""Our own scorers, which nothing gets past by saying little, saying everything or saying nothing.

All are whole-word and one-way: what is right has to stand in what is said, never the other way round, so
`The` and `1` match nothing that they are a piece of. Dates, numbers and units are compared by value
(`words`). An answer that abstains is wrong wherever there is an answer.
"""

from collections import Counter
from collections.abc import Callable, Sequence

from memalpha.agent.wire.base import answer_start
from memalpha.tasks.scoring import score as task_score
from memalpha_evals.rows import Row
from memalpha_evals.scorers.abstention import abstains
from memalpha_evals.scorers.options import chosen
from memalpha_evals.scorers.words import spans, words

LONGEST_FACTOR = 5
LONGEST_EXTRA = 20
"""`contains` takes up to `LONGEST_FACTOR` × right words + `LONGEST_EXTRA` words: an echo says more."""

_CLOSED = (["yes"], ["no"])


def scores(row: Row) -> dict[str, float]:
    """The scores of a row that did not fail, by name; none where the data has no right answer."""
    said = row.answer[answer_start(row.answer) :].strip()
    if not row.answers and not row.unanswerable:
        return {}
    if row.options:
        return {"option": float(chosen(said, row.options) == row.answers[0].lower())}
    if row.unanswerable:
        return {"abstention": float(abstains(said))}
    found = {"label": task_score("label", said, row.answers)} if row.metric == "label" else {}
    given_up = abstains(said) and not any(map(abstains, row.answers))
    return found | {name: 0.0 if given_up else _best(of, said, row.answers) for name, of in _FREE.items()}


def exact(said: Sequence[str], right: Sequence[str]) -> float:
    """1 if both have the same words in the same order."""
    return float(bool(said) and said == right)


def f1(said: Sequence[str], right: Sequence[str]) -> float:
    """Harmonic mean of precision and recall of words, with counts; yes and no are right or wrong, whole."""
    if said in _CLOSED or right in _CLOSED or not said or not right:
        return exact(said, right)
    return 2 * (Counter(said) & Counter(right)).total() / (len(said) + len(right))


def contains(said: Sequence[str], right: Sequence[str]) -> float:
    """1 if the right words stand together in what is said, unless that is far longer.

    A right yes or no has to come first, and alone: "no" stands in "I have no idea" too.
    """
    if right in _CLOSED:
        other = "no" if right == ["yes"] else "yes"
        return float(list(said[:1]) == right and other not in said)
    fits = len(said) <= LONGEST_FACTOR * len(right) + LONGEST_EXTRA
    return float(fits and spans(right, said))


_FREE: dict[str, Callable[[Sequence[str], Sequence[str]], float]] = {
    "em": exact,
    "f1": f1,
    "contains": contains,
}
NAMES = ("option", "abstention", "label", *_FREE)


def _best(of: Callable[[Sequence[str], Sequence[str]], float], said: str, answers: Sequence[str]) -> float:
    """Over the right answers; one that has no words at all is compared as it is written."""
    return max(of(words(said), right) if (right := words(each)) else float(said == each) for each in answers)
