"""Questions over passages: SQuAD, Natural Questions, HotpotQA, 2WikiMultihopQA and MuSiQue.

An instance is filled with the passages that its questions need, each once, until its chunks are full; then
the next one begins. Distractors are left out, as in the paper. A question whose answer is yes or no is left
out too: answers are scored by containment, and almost any text contains "no".
"""

from collections.abc import Iterable, Iterator

from memalpha.tasks.data.draft import Draft, Job, is_short
from memalpha.tasks.data.frames import PASSAGES, Frame
from memalpha.tasks.data.packing import holding
from memalpha.tasks.data.readers.passages import PassageQuestion
from memalpha.tasks.instance import Instance, Question

_UNDECIDED = {"yes", "no"}


def build(rows: Iterable[PassageQuestion], job: Job) -> Iterator[Instance]:
    """Instances in the order of the rows."""
    number = 1
    filling = _Filling(job.draft(number))
    for row in rows:
        if not _is_asked(row, job):
            continue
        if not filling.take(row):
            if instance := filling.finish():
                yield instance
                number += 1
            filling = _Filling(job.draft(number))
            filling.take(row)
    if instance := filling.finish():
        yield instance


def _is_asked(row: PassageQuestion, job: Job) -> bool:
    is_decided = row.answers and row.answers[0].strip().lower() not in _UNDECIDED
    return bool(is_decided) and is_short(row.answers, job.limits) and any(p.supports for p in row.passages)


class _Filling:
    """The instance that is being filled."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._packing = draft.packing()
        self._known: dict[str, dict[int, str]] = {}
        self._asked: set[str] = set()

    def take(self, row: PassageQuestion) -> bool:
        """Takes a question with its passages; False if there is no room for them."""
        if row.text.lower() in self._asked:
            return True
        for passage in row.passages:
            if passage.supports and passage.text not in self._known:
                pieces = self._packing.add(passage.text)
                if pieces is None:
                    return False
                self._known[passage.text] = pieces
        self._asked.add(row.text.lower())
        self._draft.questions.append(self._question(row))
        return True

    def finish(self) -> Instance | None:
        return self._draft.finish(Frame(PASSAGES, self._draft.rng).tell(self._packing.bodies()))

    def _question(self, row: PassageQuestion) -> Question:
        needed = [self._known[passage.text] for passage in row.passages if passage.supports]
        evidence = {place for pieces in needed for place in holding(pieces, row.answers)}
        return Question(row.text, row.answers, "substring", tuple(sorted(evidence)), row.kind)
