"""Questions over passages: HotpotQA, 2WikiMultihopQA, MuSiQue and Natural Questions.

The passages of all questions of a file are pooled into one bank, so that each question meets the others'
passages as distractors; passages of one title and text are one. The evidence of a question is the passages
that the file marks as supporting it or, for Natural Questions, as gold. Questions are independent, so each is
a cluster of its own.
"""

from collections.abc import Iterable
from pathlib import Path

from memalpha.tasks.data.readers import passages
from memalpha.tasks.data.readers.files import digest
from memalpha.tasks.data.readers.passages import PassageQuestion
from memalpha_evals.datasets.base import Conversation, Dataset, Question, Turn
from memalpha_evals.datasets.passage_sets import SETS


def hotpotqa(path: Path) -> Dataset:
    """HotpotQA's distractor setting."""
    return _pool(path, "hotpotqa", passages.hotpotqa(path))


def twowiki(path: Path) -> Dataset:
    """2WikiMultihopQA."""
    return _pool(path, "2wiki", passages.twowiki(path))


def musique(path: Path) -> Dataset:
    """MuSiQue's answerable questions; the category is the shape of the hops."""
    return _pool(path, "musique", passages.musique(path))


def nq(path: Path) -> Dataset:
    """Natural Questions with their gold passages."""
    return _pool(path, "nq", passages.nq(path))


def _pool(path: Path, name: str, rows: Iterable[PassageQuestion]) -> Dataset:
    sha256 = digest(path)
    places: dict[str, str] = {}
    questions = tuple(_question(row, places) for row in rows)
    turns = tuple(Turn(id=id_, text=text, time="") for text, id_ in places.items())
    return Dataset(
        name=name,
        sha256=sha256,
        conversations=(Conversation(id="pool", turns=turns, questions=questions),),
        unit="passage",
        clusters="questions",
        licence=SETS[name].licence,
        metric="f1",
    )


def _question(row: PassageQuestion, places: dict[str, str]) -> Question:
    """One question; passages that `places` does not know yet join it under the next id."""
    ids = [(places.setdefault(each.text, f"P{len(places) + 1}"), each.supports) for each in row.passages]
    evidence = frozenset(id_ for id_, supports in ids if supports)
    first, *others = row.answers or ("",)
    return Question(row.text, row.kind or "question", first, evidence, (), aliases=tuple(others))
