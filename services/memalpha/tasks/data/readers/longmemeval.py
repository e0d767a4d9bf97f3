"""LongMemEval's form (arXiv 2410.10813): a question over dated chat sessions, which its evidence names.

A time such as `2023/05/20 (Sat) 02:21` becomes ISO 8601 without a zone. An answer may be a number.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memalpha.tasks.data.readers.files import DatasetError, encodable, list_of, read_rows, text_of

_TIME = re.compile(r"(\d{4})/(\d\d)/(\d\d)(?: \(\w+\))?(?: (\d\d:\d\d))?")


@dataclass(frozen=True, slots=True)
class Session:
    """One chat session; a turn is its role and its words. `marked` turns hold the answer, by place."""

    id: str
    time: str
    turns: tuple[tuple[str, str], ...]
    marked: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class History:
    """The sessions of one question, in file order, and which of them hold its answer.

    An `id` that ends in `_abs` is of a question that the sessions do not answer.
    """

    kind: str
    question: str
    answer: str
    time: str
    sessions: tuple[Session, ...]
    evidence: frozenset[str]
    id: str = ""

    def lines(self) -> Iterator[str]:
        """What an instance would say of it."""
        yield self.question
        for session in self.sessions:
            for _, text in session.turns:
                yield from text.split("\n")


def read(path: Path) -> Iterator[History]:
    """Reads the released file, an array or lines."""
    for where, row in read_rows(path):
        yield _history(row, where)


def _history(row: dict[str, Any], where: str) -> History:
    columns = [
        list_of(row, key, where) for key in ("haystack_session_ids", "haystack_dates", "haystack_sessions")
    ]
    if len({len(column) for column in columns}) != 1:
        raise DatasetError(f"{where} must have as many haystack dates and ids as sessions")
    answer = encodable(str(row.get("answer", "")), where)
    if not answer.strip():
        raise DatasetError(f'{where} needs an "answer"')
    return History(
        kind=text_of(row, "question_type", where),
        question=text_of(row, "question", where),
        answer=answer,
        time=iso_time(row.get("question_date"), where),
        sessions=tuple(_session(*parts, where=where) for parts in zip(*columns, strict=True)),
        evidence=frozenset(str(id_) for id_ in list_of(row, "answer_session_ids", where)),
        id=str(row.get("question_id", "")),
    )


def _session(id_: object, time: object, turns: object, *, where: str) -> Session:
    at = f"{where}, session {id_}"
    if not isinstance(turns, list):
        raise DatasetError(f"{at} must be an array of turns")
    said = tuple(_turn(turn, at) for turn in turns)
    marked = tuple(place for place, turn in enumerate(turns) if turn.get("has_answer"))
    return Session(str(id_), iso_time(time, at), said, marked)


def _turn(turn: object, where: str) -> tuple[str, str]:
    fields = turn if isinstance(turn, dict) else {}
    role, content = fields.get("role"), fields.get("content")
    if not isinstance(role, str) or not isinstance(content, str):
        raise DatasetError(f'{where}: a turn must have the strings "role" and "content"')
    return role, encodable(content, where)


def iso_time(value: object, where: str) -> str:
    """A time of the set as ISO 8601.

    Raises:
        DatasetError: it does not read like one; `where` says whose it is.
    """
    match = _TIME.fullmatch(str(value))
    if not match:
        raise DatasetError(f"{where}: a date must read like 2023/05/20 (Sat) 02:21, not {value!r}")
    year, month, day, clock = match.groups()
    return f"{year}-{month}-{day}" + (f"T{clock}" if clock else "")
