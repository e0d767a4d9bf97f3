"""What LoCoMo's labels say: ids of turns as its files write them, and the labels that an audit mends.

The audit's `errors.json` names a question by the place of its conversation in the official file and its own
place in there (`locomo_0_qa4`). Conversations are known by their ids, so that a part of the file can be
mended too; a record whose question reads otherwise is refused.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from memalpha.tasks.data.readers.files import DatasetError, list_of, read_rows, text_of
from memalpha_evals.datasets.base import Conversation, Question

OFFICIAL_ORDER = tuple(f"conv-{number}" for number in (26, 30, 41, 42, 43, 44, 47, 48, 49, 50))

_TURN_ID = re.compile(r"D(\d+):(\d+)")
_SEPARATORS = re.compile(r"[;,\s]+")
_NAME = re.compile(r"locomo_(\d)_qa(\d+)")

_Records = Mapping[str, Sequence[tuple[str, int, dict[str, Any]]]]


def audited(conversations: Sequence[Conversation], path: Path) -> tuple[Conversation, ...]:
    """The conversations with the audit's answers and evidence.

    Raises:
        DatasetError: a record names no question of its conversation, or another one.
    """
    records = _records(path)
    return tuple(_mended(conversation, records) for conversation in conversations)


def _records(path: Path) -> _Records:
    records: dict[str, list[tuple[str, int, dict[str, Any]]]] = defaultdict(list)
    for where, row in read_rows(path):
        match = _NAME.fullmatch(text_of(row, "question_id", where))
        if not match:
            raise DatasetError(
                f'{where}: "question_id" must read like locomo_0_qa4, not {row["question_id"]!r}'
            )
        records[OFFICIAL_ORDER[int(match[1])]].append((where, int(match[2]), row))
    return records


def _mended(conversation: Conversation, records: _Records) -> Conversation:
    questions = list(conversation.questions)
    ids = frozenset(turn.id for turn in conversation.turns)
    for where, place, row in records.get(conversation.id, ()):
        asked = questions[place].text if place < len(questions) else None
        if asked != row.get("question"):
            raise DatasetError(f"{where} asks {row.get('question')!r}, but {conversation.id} asks {asked!r}")
        questions[place] = _corrected(questions[place], row, ids, where)
    return replace(conversation, questions=tuple(questions))


def _corrected(question: Question, row: dict[str, Any], ids: frozenset[str], where: str) -> Question:
    """What the audit leaves empty stays as the file has it."""
    cited = [str(each) for each in list_of(row, "correct_evidence", where)]
    evidence, bad = evidence_of(cited, ids) if cited else (question.evidence, question.bad_evidence)
    answer = str(row.get("correct_answer") or question.answer)
    return replace(question, answer=answer, evidence=evidence, bad_evidence=bad)


def evidence_of(cited: list[str], turn_ids: frozenset[str]) -> tuple[frozenset[str], tuple[str, ...]]:
    """Splits citations into turns of the conversation and the rest."""
    names = [name for citation in cited for name in _SEPARATORS.split(citation) if name]
    known = {name: canonical(name) for name in names}
    good = frozenset(id_ for id_ in known.values() if id_ in turn_ids)
    return good, tuple(name for name in known if known[name] not in turn_ids)


def canonical(name: str) -> str:
    """`D30:05` is `D30:5`; empty if it is no turn's id."""
    match = _TURN_ID.fullmatch(name)
    return f"D{int(match[1])}:{int(match[2])}" if match else ""
