"""Which single answers a report shows: the same questions for all systems, categories in turn.

Questions are drawn by the digest of their name, so that a report of the same rows shows the same ones, and a
run with more rows shows them again. All systems' answers to a question stand together.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from itertools import zip_longest

from memalpha_evals.rows import Row

Asked = tuple[str, str]
"""Conversation and question."""


def drawn(rows: Sequence[Row], most: int) -> list[list[Row]]:
    """At most so many rows, in lists of one question each; categories take turns."""
    by_question: dict[Asked, list[Row]] = {}
    for row in rows:
        by_question.setdefault((row.conversation, row.question_id), []).append(row)
    by_category: dict[str, list[Asked]] = {}
    for asked in sorted(by_question, key=_digest):
        by_category.setdefault(by_question[asked][0].category, []).append(asked)
    turns = (asked for turn in zip_longest(*by_category.values()) for asked in turn if asked)
    chosen, room = [], most
    for asked in turns:
        room -= len(by_question[asked])
        if room < 0:
            break
        chosen.append(by_question[asked])
    return chosen


def _digest(asked: Asked) -> bytes:
    return sha256("\0".join(asked).encode("utf-8", "surrogatepass")).digest()
