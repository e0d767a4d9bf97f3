"""LongMemEval (arXiv 2410.10813): a question over many dated chat sessions, in the sizes S, M and oracle.

Each question has a history of its own. The evidence is the turns that the file marks as holding the answer,
or, where a copy of the file has lost the marks, all turns of the sessions that it names. Questions whose id
ends in `_abs` ask for what was not said.
"""

from collections.abc import Iterator
from pathlib import Path

from memalpha.tasks.data.readers import longmemeval
from memalpha.tasks.data.readers.files import check_unique, digest
from memalpha.tasks.data.readers.longmemeval import History, Session
from memalpha_evals.datasets.base import Conversation, Dataset, Question, Turn
from memalpha_evals.datasets.draws import ALL, Draw

CAVEATS = (
    "The cleaned files of September 2025 differ from the first release; their figures are not comparable.",
    "The paper scores answers by a judge.",
    "Mem-alpha is trained on 200 of its questions, those that MemoryAgentBench does not ask.",
)


def read(path: Path, draw: Draw = ALL) -> Dataset:
    """Reads a released file row by row: one history is held for each question that is drawn.

    Raises:
        DatasetError: a row is not of the form.
    """
    conversations = tuple(_conversation(each, n) for n, each in enumerate(draw.first(longmemeval.read(path))))
    check_unique((each.id for each in conversations), f"{path.name}: question_id")
    return Dataset(
        name="longmemeval",
        sha256=digest(path),
        conversations=conversations,
        licence="MIT",
        caveats=CAVEATS,
        metric="judge",
    )


def _conversation(history: History, place: int) -> Conversation:
    id_ = history.id or str(place)
    turns = tuple(turn for n, session in enumerate(history.sessions) for turn in _turns(session, n))
    question = Question(
        text=history.question,
        category=history.kind,
        answer=history.answer,
        evidence=_evidence(history),
        bad_evidence=tuple(sorted(history.evidence - {session.id for session in history.sessions})),
        id=id_,
        time=history.time,
        unanswerable=id_.endswith("_abs"),
    )
    return Conversation(id_, turns, (question,))


def _turns(session: Session, number: int) -> Iterator[Turn]:
    for place, (role, text) in enumerate(session.turns):
        yield Turn(f"{number}:{place}", text, session.time, role)


def _evidence(history: History) -> frozenset[str]:
    """Ids of the turns, which name sessions by their place: an id may come twice in a history."""
    places: set[str] = set()
    for number, session in enumerate(history.sessions):
        if session.id in history.evidence:
            marked = session.marked or range(len(session.turns))
            places.update(f"{number}:{place}" for place in marked)
    return frozenset(places)
