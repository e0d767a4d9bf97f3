"""RULER-QA: one question over numbered documents, as files that hold the whole context of each question.

Two forms: MemAgent's `eval_50.json` (arXiv 2507.02259: `input`, `context`, `answers`) and RULER's own lines
(arXiv 2404.06654: `input` with the documents and the question, `outputs`), also where its option
`--remove_newline_tab` made one line of it. A document is a turn.

Compared with `scripts/data/synthetic/qa.py` and `constants.py` of NVIDIA/RULER @ c3f5e3b, and with
`taskutils/memory_data/process_test.py` of syr-cn/MemOCR @ 38b8661, which writes MemAgent's form; not with
files of either.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from memalpha.tasks.data.readers.files import DatasetError, digest, encodable, list_of, read_rows, text_of
from memalpha_evals.datasets.base import Conversation, Dataset, Question, Turn
from memalpha_evals.datasets.draws import ALL, Draw

_DOCUMENT = re.compile(r"^(?=Document \d+:)", re.MULTILINE)
_IN_A_LINE = re.compile(r"(?<!\S)(?=Document \d+: )")
_TASK = re.compile(r"\s*(?<!\S)Answer the question based on the given documents\.")
_QUESTION = re.compile(r"Question:\s*(.*?)\s*(?:Answer:.*)?", re.DOTALL)


def read(path: Path, draw: Draw = ALL) -> Dataset:
    """Reads a file of either form.

    Raises:
        DatasetError: a row is not of one of the forms.
    """
    return Dataset(
        name="ruler-qa",
        sha256=digest(path),
        conversations=tuple(
            _conversation(row, number, where)
            for number, (where, row) in enumerate(draw.first(read_rows(path)))
        ),
        unit="passage",
        clusters="questions",
        licence="CC BY-SA 4.0",
        metric="substring",
    )


def documents(text: str, where: str) -> Iterator[Turn]:
    """The documents of a context, each with its heading.

    Raises:
        DatasetError: the text has none.
    """
    _, *parts = (_DOCUMENT if "\n" in text.strip() else _IN_A_LINE).split(text)
    if not parts:
        raise DatasetError(f"{where}: the context must hold documents under headings such as Document 1:")
    for number, part in enumerate(parts, start=1):
        yield Turn(f"D{number}", encodable(part.strip(), where), "")


def _conversation(row: dict[str, Any], number: int, where: str) -> Conversation:
    if "context" in row:
        context, question = text_of(row, "context", where), text_of(row, "input", where)
    else:
        context, question = _split(text_of(row, "input", where), where)
    answers = [str(each) for each in list_of(row, "answers" if "answers" in row else "outputs", where)]
    if not answers:
        raise DatasetError(f"{where} has no answer")
    id_ = str(row.get("index", number))
    asked = Question(question, "question", answers[0], frozenset(), (), aliases=tuple(answers[1:]))
    return Conversation(f"{number}-{id_}", tuple(documents(context, where)), (asked,))


def _split(text: str, where: str) -> tuple[str, str]:
    """Documents and question of RULER's prompt, whose task stands before and behind the documents."""
    head, mark, tail = text.rpartition("Question:")
    match = _QUESTION.fullmatch(mark + tail)
    if not match or not match[1]:
        raise DatasetError(f'{where}: "input" must end with "Question:" and the question')
    tasks = list(_TASK.finditer(head))
    behind = tasks[-1].start() if tasks and tasks[-1].start() > head.find("Document 1:") else len(head)
    return head[:behind], match[1]
