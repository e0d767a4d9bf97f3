"""BABILong (arXiv 2406.10149): facts of the bAbI tasks, scattered over a book.

A file holds one task at one length (`qa1/16k.json`, or the parquet of the larger release), each row a text, a
question and the word that answers it. The category is the task, by the name of the file or its folder.

Compared with `data/create_tasks.py`, which writes such files, and
`notebooks/eval_Phi-3-mini-128k-instruct.py`, which reads them, of booydar/babilong @ 7a6efee; not with the
files themselves.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import Any

from memalpha.agent.chunking import split_text
from memalpha.tasks.data.readers.files import digest, read_rows, text_of
from memalpha_evals.datasets.base import Conversation, Dataset, Question, Turn
from memalpha_evals.datasets.draws import ALL, Draw
from memalpha_evals.datasets.tables import rows_of

PIECE = 256
"""Most o200k tokens of a turn: a text has no turns of its own."""

_TASK = re.compile(r"qa\d+")


def read(paths: Sequence[Path], draw: Draw = ALL) -> Dataset:
    """Reads the files of one or more tasks, one after another.

    Raises:
        DatasetError: a row is not of the form.
    """
    return Dataset(
        name="babilong",
        sha256=sha256("".join(map(digest, paths)).encode()).hexdigest(),
        conversations=tuple(draw.first(chain.from_iterable(map(_conversations, paths)))),
        unit="passage",
        clusters="questions",
        licence="Apache-2.0; bAbI BSD",
        caveats=("The order of facts decides: passages that are retrieved one by one lose it by design.",),
        metric="substring",
    )


def _conversations(path: Path) -> Iterator[Conversation]:
    rows = rows_of(path) if ".parquet" in path.name else read_rows(path)
    task = _task(path)
    for number, (where, row) in enumerate(rows):
        yield _conversation(row, f"{task}-{path.name.partition('.')[0]}-{number}", task, where)


def _task(path: Path) -> str:
    match = _TASK.match(path.name) or _TASK.fullmatch(path.parent.name)
    return match[0] if match else "babilong"


def _conversation(row: Mapping[str, Any], id_: str, task: str, where: str) -> Conversation:
    fields = dict(row)
    pieces = split_text(text_of(fields, "input", where), PIECE)
    turns = tuple(Turn(f"T{number}", piece, "") for number, piece in enumerate(pieces))
    question = Question(
        text_of(fields, "question", where), task, text_of(fields, "target", where), frozenset(), ()
    )
    return Conversation(id_, turns, (question,))
