"""Answers of which it is known whether they are right, from the files of an audit.

Two forms are read. The audit of LoCoMo (dial481/locomo-audit, CC BY-NC 4.0): `errors.json` lists questions
whose right answer in the data is wrong, and files of deliberately wrong answers to all questions hold
`detailed_results` by conversation. Or JSON lines of one's own, one object with `question`, `right`, `answer`
and `correct`, and `cluster` where answers belong together. What is of another shape is refused, and the error
names its place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn, TypeVar

from pydantic import BaseModel, ConfigDict, StrictBool, TypeAdapter, ValidationError

from memalpha.errors import InvalidInputError, make
from memalpha_evals.judges.judge import Case

_RIGHT = "right answers"
_ANSWER_STANDS = "WRONG_CITATION"
"""The one kind of error that leaves the right answer as it is."""

T = TypeVar("T")


class Known(NamedTuple):
    """A case and the truth about it; `source` is the file's name, `cluster` what it belongs to."""

    case: Case
    correct: bool
    source: str
    cluster: str


class _Error(BaseModel):
    """A question whose key the audit calls wrong."""

    question_id: str
    error_type: str


class _MadeUp(BaseModel):
    """A wrong answer; keys such as years are numbers in the files."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    question: str
    golden_answer: str
    generated_answer: str
    question_id: str = ""


class _Audit(BaseModel):
    """A file of wrong answers, by conversation."""

    detailed_results: dict[str, list[_MadeUp]]


class _Own(BaseModel):
    """A line of one's own. As a word, `"false"` would be taken for true."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    question: str
    right: str
    answer: str
    correct: StrictBool
    cluster: str | None = None


_ERRORS, _AUDIT, _OWN = TypeAdapter(list[_Error]), TypeAdapter(_Audit), TypeAdapter(_Own)


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


def shape_fault(error: ValidationError) -> str:
    """Where the first fault of a shape is, and what is wrong there."""
    first = error.errors(include_url=False)[0]
    where = ".".join(map(str, first["loc"]))
    return f"{where}: {first['msg']}" if where else first["msg"]


def _wrong_keys(path: Path) -> set[str]:
    found = _parsed(_ERRORS, path, "must be a list of objects with question_id and error_type", _text(path))
    return {each.question_id for each in found if each.error_type != _ANSWER_STANDS}


def _read(path: Path, wrong_keys: set[str]) -> Iterator[Known]:
    if path.suffix == ".jsonl":
        yield from _own(path)
        return
    form = "must be JSON lines (.jsonl), or an object with detailed_results"
    for cluster, entries in _parsed(_AUDIT, path, form, _text(path)).detailed_results.items():
        for entry in entries:
            if entry.question_id not in wrong_keys:
                right = entry.golden_answer
                yield Known(Case(entry.question, right, right), True, _RIGHT, cluster)
                yield Known(Case(entry.question, right, entry.generated_answer), False, path.name, cluster)


def _own(path: Path) -> Iterator[Known]:
    for number, line in enumerate(_text(path).splitlines(), 1):
        if line.strip():
            form = f"must have question, right, answer and correct, true or false, in line {number}"
            found = _parsed(_OWN, path, form, line)
            case = Case(found.question, found.right, found.answer)
            cluster = found.question if found.cluster is None else found.cluster
            yield Known(case, found.correct, path.name, cluster)


def _parsed(shape: TypeAdapter[T], path: Path, form: str, text: str) -> T:
    try:
        return shape.validate_json(text)
    except ValidationError as error:
        _refuse(path, f"{form}: {shape_fault(error)}")


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        _refuse(path, f"must be a text file: {error}")


def _refuse(path: Path, rule: str) -> NoReturn:
    raise make(InvalidInputError, "AUDIT_FILE", f"{path} {rule}", path=path)
