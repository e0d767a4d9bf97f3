"""PerLTQA (arXiv 2402.16288): what happened to a character, told event by event, and questions about it.

Each event with its dialogues is a turn. Two files: `perltmem*.json` and `perltqa*.json`. Questions about the
profile are left out, since no event tells it. The evidence of a question is the events whose key it names.

Compared with `Dataset/dataset.py` and `Dataset/README.md` of Elvin-Yiming-Du/PerLTQA @ 5a9b117 and, for what
an event holds, `process_data.py` of wangyu-ustc/Mem-alpha @ 9c0e1f6; not with the files themselves.
"""

from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

from memalpha.tasks.data.readers import perltqa
from memalpha.tasks.data.readers.files import digest
from memalpha.tasks.data.readers.perltqa import Character, EventQuestion
from memalpha_evals.datasets.base import Conversation, Dataset, Question, Turn
from memalpha_evals.datasets.draws import ALL, Draw


def read(memory: Path, questions: Path, draw: Draw = ALL) -> Dataset:
    """Reads both files.

    Raises:
        DatasetError: a file is not PerLTQA.
    """
    asked = (each for each in perltqa.read(memory, questions) if each.questions and each.events)
    return Dataset(
        name="perltqa",
        sha256=sha256((digest(memory) + digest(questions)).encode()).hexdigest(),
        conversations=tuple(_conversation(each) for each in draw.first(asked)),
        unit="passage",
        licence="CC BY-NC 4.0",
        caveats=("Mem-alpha is trained on questions of this set.",),
        metric="parts",
    )


def _conversation(character: Character) -> Conversation:
    turns = tuple(Turn(each.id, _told(each.time, each.text), "") for each in character.events)
    ids = [turn.id for turn in turns]
    return Conversation(character.name, turns, tuple(_question(each, ids) for each in character.questions))


def _told(time: str, text: str) -> str:
    """The time is kept as the file words it: it is rarely a date."""
    return f"[{time}]\n{text}" if time else text


def _question(question: EventQuestion, ids: Iterable[str]) -> Question:
    """A key is an event's (`4_0_0`), one of its dialogues' (`4_0_0#1`), or begins several (`4_0`)."""
    key = question.key.partition("#")[0]
    evidence = frozenset(id_ for id_ in ids if id_ == key or id_.startswith(f"{key}_"))
    return Question(
        text=question.text,
        category=question.kind,
        answer=question.answer,
        evidence=evidence,
        bad_evidence=() if evidence else (question.key,),
    )
