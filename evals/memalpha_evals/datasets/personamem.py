"""PersonaMem (arXiv 2504.14225): one persona's sessions over time, and choices among four replies.

The official form is two files: `questions_32k.csv` and `shared_contexts_32k.jsonl` (also 128k and 1M). A
question sees the first `end_index_in_shared_context` turns of its context, all of them if it has fewer. One
line of the contexts is held at a time, and only those that a drawn question needs are kept.

Compared with `inference_standalone_openai.py` of bowen-upenn/PersonaMem @ 041d82a; not with the files
themselves.
"""

import ast
import csv
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from memalpha.tasks.data.readers.files import (
    DatasetError,
    check_unique,
    digest,
    encodable,
    open_text,
    read_rows,
    text_of,
)
from memalpha_evals.datasets.base import Conversation, Dataset, Question, Turn
from memalpha_evals.datasets.draws import ALL, Draw

LICENCE = "not stated in the files"
CAVEATS = (
    "Chance is 25 %. The reader's model decides most of this set: published figures of different readers "
    "are not comparable.",
    "Every question sees only the turns before it; the file names no evidence.",
)

_OPTION = re.compile(r"\s*\(([a-z])\)\s*(.*)", re.DOTALL)


def read(questions: Path, contexts: Path, draw: Draw = ALL) -> Dataset:
    """Reads the official files.

    Raises:
        DatasetError: a file is not PersonaMem; the message names the row and the rule.
    """
    rows: dict[str, list[tuple[str, dict[str, str]]]] = defaultdict(list)
    for where, row in _csv_rows(questions):
        rows[text_of(row, "shared_context_id", where)].append((where, row))
    wanted = dict.fromkeys(draw.first(rows))
    conversations = {
        id_: _official(id_, turns, rows[id_], where)
        for where, line in read_rows(contexts)
        for id_, turns in line.items()
        if id_ in wanted
    }
    if missing := [id_ for id_ in wanted if id_ not in conversations]:
        raise DatasetError(
            f"{contexts.name} has no context {missing[0]!r}, which {questions.name} asks about"
        )
    return dataset((questions, contexts), [conversations[id_] for id_ in wanted])


def dataset(paths: Sequence[Path], conversations: Iterable[Conversation]) -> Dataset:
    """The data set of either form."""
    return Dataset(
        name="personamem",
        sha256=sha256("".join(map(digest, paths)).encode()).hexdigest(),
        conversations=tuple(conversations),
        licence=LICENCE,
        caveats=CAVEATS,
        metric="exact_match",
    )


def _csv_rows(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    with open_text(path) as file:
        rows = csv.DictReader(file, strict=True)
        try:
            for row in rows:
                yield f"{path.name}, line {rows.line_num}", row
        except csv.Error as error:
            raise DatasetError(f"{path.name}, line {rows.line_num} is not CSV: {error}") from error


def _official(
    id_: str, turns: object, rows: Sequence[tuple[str, dict[str, str]]], where: str
) -> Conversation:
    if not isinstance(turns, list):
        raise DatasetError(f"{where}: a context must be an array of turns")
    said = tuple(_turn(turn, str(n), f"{where}, turn {n}") for n, turn in enumerate(turns, start=1))
    questions = tuple(_question(row, len(said), at) for at, row in rows)
    check_unique((question.id for question in questions), f"context {id_}: question_id")
    last = max(question.until or 0 for question in questions)  # what comes later, nobody is asked about
    return Conversation(id_, said[:last], questions)


def _turn(turn: object, id_: str, where: str) -> Turn:
    fields = turn if isinstance(turn, dict) else {}
    role, content = fields.get("role"), fields.get("content")
    if not isinstance(role, str) or not isinstance(content, str):
        raise DatasetError(f'{where} must be an object with the strings "role" and "content"')
    return Turn(id_, encodable(content, where), "", role.capitalize())


def _question(row: Mapping[str, Any], turns: int, where: str) -> Question:
    end = str(row.get("end_index_in_shared_context", ""))
    if not end.isdecimal() or not int(end) or not turns:
        rule = "must be a number of turns of its context, from 1"
        raise DatasetError(f"{where}: end_index_in_shared_context {rule}, not {end!r}")
    key = "user_question_or_message" if "user_question_or_message" in row else "question"
    options = _literal(text_of(dict(row), "all_options", where), where)
    return choice(
        id_=text_of(dict(row), "question_id", where),
        text=text_of(dict(row), key, where),
        category=text_of(dict(row), "question_type", where),
        options=options,
        right=text_of(dict(row), "correct_answer", where),
        until=min(int(end), turns),
        where=where,
    )


def _literal(text: str, where: str) -> list[str]:
    """A list of texts as Python writes it, such as `['(a) Yes', "(b) No"]`."""
    try:
        options = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise DatasetError(f"{where}: all_options must be a list as Python writes it") from error
    if not isinstance(options, list) or not all(isinstance(option, str) for option in options):
        raise DatasetError(f"{where}: all_options must be a list of texts")
    return options


def choice(
    *, id_: str, text: str, category: str, options: Sequence[str], right: str, until: int, where: str
) -> Question:
    """A question with its options, which begin with their letters; `right` is a letter, bracketed or not."""
    letter = right.strip().strip("()").lower()
    if len(letter) != 1 or not 0 <= ord(letter) - ord("a") < len(options):
        raise DatasetError(f"{where}: the right answer must be the letter of an option, not {right!r}")
    return Question(
        text=text.strip(),
        category=category,
        answer=letter,
        evidence=frozenset(),
        bad_evidence=(),
        id=id_,
        options=tuple(_option(option, number, where) for number, option in enumerate(options)),
        until=until,
    )


def _option(text: str, number: int, where: str) -> str:
    """An option without its letter."""
    match = _OPTION.fullmatch(text)
    if not match or ord(match[1]) != ord("a") + number:
        raise DatasetError(f"{where}: options must begin with (a), (b) and so on, not {text[:40]!r}")
    return encodable(match[2].strip(), where)
