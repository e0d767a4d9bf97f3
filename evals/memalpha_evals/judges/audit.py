"""Answers of which it is known whether they are right, from the files of an audit.

Two forms are read. The audit of LoCoMo (dial481/locomo-audit, CC BY-NC 4.0): `errors.json` lists questions
whose right answer in the data is wrong, and files of deliberately wrong answers to all questions hold
`detailed_results` by conversation. Or JSON lines of one's own, one object with `question`, `right`, `answer`
and `correct`, and `cluster` where answers belong together.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from memalpha.errors import InvalidInputError, make
from memalpha_evals.judges.judge import Case

_RIGHT = "right answers"
_ANSWER_STANDS = "WRONG_CITATION"
"""The one kind of error that leaves the right answer as it is."""


class Known(NamedTuple):
    """A case and the truth about it; `source` is the file's name, `cluster` what it belongs to."""

    case: Case
    correct: bool
    source: str
    cluster: str


def known(answers: Sequence[Path], audit: Path | None = None) -> list[Known]:
    """All known answers; of a LoCoMo audit each right answer is a case too, once, as itself.

    Questions whose right answer the audit found wrong are left out: what was made up may be right there.

    Raises:
        InvalidInputError: AUDIT_FILE; a file is missing or is of neither form.
    """
    wrong_keys = _wrong_keys(audit) if audit else set[str]()
    found = [each for path in answers for each in _read(path, wrong_keys)]
    rights = {each.case: each.cluster for each in found if each.source == _RIGHT}
    # what was made up may be the right answer after all, and is no wrong one then
    return [
        *(Known(case, True, _RIGHT, cluster) for case, cluster in rights.items()),
        *(each for each in found if each.case not in rights),
    ]


def _wrong_keys(path: Path) -> set[str]:
    content = _json(path)
    if not isinstance(content, list) or not all(isinstance(each, dict) for each in content):
        _refuse(path, "must be a list of objects with question_id and error_type")
    return {each.get("question_id", "") for each in content if each.get("error_type") != _ANSWER_STANDS}


def _read(path: Path, wrong_keys: set[str]) -> Iterator[Known]:
    if path.suffix == ".jsonl":
        yield from (_own(path, line) for line in _text(path).splitlines() if line.strip())
        return
    content = _json(path)
    results = content.get("detailed_results") if isinstance(content, dict) else None
    if not isinstance(results, dict):
        _refuse(path, "must be JSON lines (.jsonl), or an object with detailed_results")
    for cluster, entry in ((name, each) for name, entries in results.items() for each in entries):
        if entry.get("question_id") not in wrong_keys:
            yield from _made_up(path, cluster, entry)


def _made_up(path: Path, cluster: str, entry: Mapping[str, Any]) -> Iterator[Known]:
    try:
        question, right = entry["question"], str(entry["golden_answer"])
        yield Known(Case(question, right, right), True, _RIGHT, cluster)
        yield Known(Case(question, right, entry["generated_answer"]), False, path.name, cluster)
    except KeyError as error:
        _refuse(path, f"must have {error} in each of detailed_results")


def _own(path: Path, line: str) -> Known:
    try:
        raw = json.loads(line)
        case = Case(str(raw["question"]), str(raw["right"]), str(raw["answer"]))
        if not isinstance(raw["correct"], bool):
            raise TypeError("correct")
        return Known(case, raw["correct"], path.name, str(raw.get("cluster", case.question)))
    except (ValueError, KeyError, TypeError):
        _refuse(path, "must have question, right, answer and correct, true or false, in each line")


def _json(path: Path) -> Any:
    try:
        return json.loads(_text(path))
    except ValueError as error:
        _refuse(path, f"must be JSON: {error}")


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        _refuse(path, f"must be a text file: {error}")


def _refuse(path: Path, rule: str) -> NoReturn:
    raise make(InvalidInputError, "AUDIT_FILE", f"{path} {rule}", path=path)
