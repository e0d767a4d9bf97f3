"""PersonaMem with contexts split into sessions: `queries_32k.json` and `documents_32k.json`.

A question sees the sessions that its `gold_ids` name, the first ones of its context.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from memalpha.tasks.data.readers.files import DatasetError, check_unique, list_of, read_rows, text_of
from memalpha_evals.datasets.base import Conversation, Dataset, Question, Turn
from memalpha_evals.datasets.draws import ALL, Draw
from memalpha_evals.datasets.personamem import choice, dataset

_OPTIONS = re.compile(r"\n\s*(?=\([a-z]\)\s)")
_MARK = re.compile(r"(?:^|\n\n)\[(SYSTEM|USER|ASSISTANT)\] ")


def read(queries: Path, documents: Path, draw: Draw = ALL) -> Dataset:
    """Reads both files.

    Raises:
        DatasetError: a file is not of the form; the message names the row and the rule.
    """
    asked: dict[str, list[tuple[str, dict[str, Any]]]] = defaultdict(list)
    for where, row in read_rows(queries):
        asked[text_of(row, "user_id", where)].append((where, row))
    wanted = dict.fromkeys(draw.first(asked))
    sessions: dict[str, dict[str, tuple[Turn, ...]]] = defaultdict(dict)
    for where, row in read_rows(documents):
        user, id_ = text_of(row, "user_id", where), text_of(row, "id", where)
        if user in wanted:
            sessions[user][id_] = tuple(_session(text_of(row, "content", where), id_))
    return dataset((queries, documents), [_split(id_, sessions[id_], asked[id_]) for id_ in wanted])


def _session(content: str, id_: str) -> Iterator[Turn]:
    """The turns of a session, which stand behind `[SYSTEM]`, `[USER]` or `[ASSISTANT]`."""
    before, *parts = _MARK.split(content)
    if before.strip() or not parts:
        raise DatasetError(f"session {id_} must begin its turns with [SYSTEM], [USER] or [ASSISTANT]")
    for number, (role, text) in enumerate(zip(parts[::2], parts[1::2], strict=True), start=1):
        yield Turn(f"{id_}:{number}", text, "", role.capitalize())


def _split(
    id_: str, sessions: Mapping[str, tuple[Turn, ...]], rows: Sequence[tuple[str, dict[str, Any]]]
) -> Conversation:
    turns = tuple(turn for session in sessions.values() for turn in session)
    questions = tuple(_query(row, sessions, where) for where, row in rows)
    check_unique((question.id for question in questions), f"context {id_}: id")
    return Conversation(id_, turns, questions)


def _query(row: dict[str, Any], sessions: Mapping[str, tuple[Turn, ...]], where: str) -> Question:
    gold = list_of(row, "gold_ids", where)
    if not gold or gold != list(sessions)[: len(gold)]:
        raise DatasetError(f"{where}: gold_ids must be the first sessions of its context, in order")
    meta = row.get("meta")
    text, *options = _OPTIONS.split(text_of(row, "query", where))
    answers = list_of(row, "gold_answers", where)
    return choice(
        id_=text_of(row, "id", where),
        text=text,
        category=text_of(meta if isinstance(meta, dict) else {}, "question_type", f"{where}, meta"),
        options=options,
        right=str(answers[-1]) if answers else "",
        until=sum(len(sessions[name]) for name in gold),
        where=where,
    )
