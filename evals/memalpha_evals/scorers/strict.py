r"""Our own scorers, which nothing gets past by saying little, saying everything or saying nothing.

All are whole-word and one-way: what is right has to stand in what is said, never the other way round, so
`The` and `1` match nothing that they are a piece of. Dates, numbers and units are compared by value
(`words`); what `contains` takes is said in `containment`. An answer that abstains is wrong wherever there
is an answer.
"""

from collections import Counter
from collections.abc import Callable

from memalpha.agent.wire.base import answer_start
from memalpha.tasks.scoring import score as task_score
from memalpha_evals.rows import Row
from memalpha_evals.scorers.abstention import abstains
from memalpha_evals.scorers.containment import CLOSED, contains
from memalpha_evals.scorers.options import chosen
from memalpha_evals.scorers.words import words


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
    return found | {name: 0.0 if given_up else _best(of, said, row) for name, of in _FREE.items()}


def exact(said: str, right: str, question: str = "") -> float:
    """1 if both have the same words in the same order."""
    return float(bool(words(said)) and words(said) == words(right))


def f1(said: str, right: str, question: str = "") -> float:
    """Harmonic mean of precision and recall of words, with counts; yes and no are right or wrong, whole."""
    ours, theirs = words(said), words(right)
    if ours in CLOSED or theirs in CLOSED or not ours or not theirs:
        return exact(said, right)
    return 2 * (Counter(ours) & Counter(theirs)).total() / (len(ours) + len(theirs))


_FREE: dict[str, Callable[[str, str, str], float]] = {"em": exact, "f1": f1, "contains": contains}


def _best(of: Callable[[str, str, str], float], said: str, row: Row) -> float:
    """Over the right answers; one that has no words at all is compared as it is written."""
    return max(of(said, each, row.question) if words(each) else float(said == each) for each in row.answers)
