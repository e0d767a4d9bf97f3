"""MemoryAgentBench (ICLR 2026) as released: parquet files, a long context a row, many questions each.

A row's source says how its context is cut into turns: labelled examples, documents, facts, dated chat
sessions, or paragraphs. Sources whose metric is not to be had here (recommendation lists) are left out, which
a caveat says. A row with one question may have all that is accepted in one list, or a bare text for either.
Mem-alpha's processed copy of this benchmark has other chunks and questions: see `instances`.

Compared with `utils/eval_data_utils.py`, `conversation_creator.py` and `utils/eval_other_utils.py` of
HUST-AI-HYZ/MemoryAgentBench @ 455306d; not with the files themselves.
"""

import ast
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import Any

from memalpha.agent.chunking import split_text
from memalpha.tasks.data.readers.files import DatasetError, digest, encodable, list_of, text_of
from memalpha.tasks.data.readers.longmemeval import iso_time
from memalpha_evals.datasets import ruler
from memalpha_evals.datasets.base import Conversation, Dataset, Question, Turn
from memalpha_evals.datasets.draws import ALL, Draw
from memalpha_evals.datasets.tables import rows_of

PIECE = 256
"""Most o200k tokens of a turn of a context that has no turns of its own."""
CAVEATS = (
    "Most sources have one context, and so one cluster: no claim about others follows from their figures.",
    "Rows of recsys_redial are left out: their metric is recall@5 over a catalogue that is not in the files.",
)

_BLANK_LINE = re.compile(r"\n\s*\n")
_TIME = re.compile(r"\d{4}/\d\d/\d\d.*")


@dataclass(frozen=True, slots=True)
class _Form:
    """How rows of a source are read: their context as turns, and the metric of the benchmark's paper."""

    turns: Callable[[str, str], Iterator[Turn]]
    metric: str


def read(paths: Sequence[Path], draw: Draw = ALL) -> Dataset:
    """Reads one or more of the split files, one after another.

    Raises:
        DatasetError: pyarrow is missing, or a row is not of the form.
    """
    return Dataset(
        name="memoryagentbench",
        sha256=sha256("".join(map(digest, paths)).encode()).hexdigest(),
        conversations=tuple(draw.first(chain.from_iterable(map(_conversations, paths)))),
        unit="passage",
        licence="MIT",
        caveats=CAVEATS,
    )


def _conversations(path: Path) -> Iterator[Conversation]:
    for number, (where, row) in enumerate(rows_of(path)):
        metadata = row.get("metadata")
        fields = metadata if isinstance(metadata, dict) else {}
        source = text_of(fields, "source", f"{where}, metadata")
        if form := _form(source, where):
            id_ = f"{path.name.partition('-')[0]}-{number}-{source}"
            turns = tuple(form.turns(text_of(row, "context", where), where))
            yield Conversation(id_, turns, tuple(_questions(row, fields, source, form, where)))


def _form(source: str, where: str) -> _Form | None:
    """The form of a source; None if it is left out."""
    for pattern, form in _FORMS.items():
        if fnmatch(source, pattern):
            return form
    raise DatasetError(f"{where}: source must be like {', '.join(_FORMS)}, not {source!r}")


def _questions(
    row: dict[str, Any], metadata: dict[str, Any], source: str, form: _Form, where: str
) -> Iterator[Question]:
    texts, answers = _listed(row, "questions", where), _listed(row, "answers", where)
    if len(texts) == 1:
        answers = [answers]
    if len(texts) != len(answers):
        raise DatasetError(f"{where} has {len(texts)} questions but {len(answers)} lists of answers")
    kinds, ids, dates = (_aligned(metadata, key, len(texts)) for key in _ALIGNED)
    for place, (text, accepted) in enumerate(zip(texts, answers, strict=True)):
        right = list(_flat(accepted))
        if not right:
            raise DatasetError(f"{where}, question {place + 1} has no answer")
        yield Question(
            text=encodable(str(text), where),
            category=f"{source}, {kinds[place]}" if kinds[place] else source,
            answer=right[0],
            evidence=frozenset(),
            bad_evidence=(),
            id=str(place),
            aliases=tuple(right[1:]),
            time=iso_time(dates[place], where) if dates[place] else "",
            unanswerable=ids[place].endswith("_abs"),
            metric=form.metric,
        )


def _listed(row: dict[str, Any], key: str, where: str) -> list[Any]:
    return [row[key]] if isinstance(row.get(key), str) else list_of(row, key, where)


def _flat(accepted: object) -> Iterator[str]:
    """All accepted answers, however deep the lists."""
    if isinstance(accepted, list):
        for each in accepted:
            yield from _flat(each)
    else:
        yield str(accepted)


_ALIGNED = ("question_types", "question_ids", "question_dates")
"""Columns of the metadata that stand beside the questions, or are empty."""


def _aligned(metadata: Mapping[str, Any], key: str, count: int) -> list[str]:
    values = metadata.get(key)
    found = values if isinstance(values, list) and len(values) == count else [""] * count
    return [str(each or "") for each in found]


def _examples(context: str, where: str) -> Iterator[Turn]:
    """Blocks of a sentence and its label, between blank lines."""
    return _turns(_BLANK_LINE.split(context))


def _facts(context: str, where: str) -> Iterator[Turn]:
    """Numbered lines; a later one overrules an earlier one."""
    return _turns(context.split("\n"))


def _paragraphs(context: str, where: str) -> Iterator[Turn]:
    return _turns(split_text(context, PIECE))


def _turns(texts: Sequence[str]) -> Iterator[Turn]:
    kept = (text for text in texts if text.strip())
    return (Turn(f"T{number}", text, "") for number, text in enumerate(kept))


def _sessions(context: str, where: str) -> Iterator[Turn]:
    """A list as Python writes it, in which times and sessions take turns; it is parsed, never run."""
    try:
        entries = ast.literal_eval(context)
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise DatasetError(f"{where}: the context must be a list of times and sessions") from error
    if not isinstance(entries, list):
        raise DatasetError(f"{where}: the context must be a list of times and sessions")
    time = ""
    for number, entry in enumerate(entries):
        if isinstance(entry, str):
            time = _time(entry, f"{where}, entry {number}")
        else:
            yield from _session(entry, number, time, f"{where}, entry {number}")


def _time(entry: str, where: str) -> str:
    """A time such as `2023/05/20 (Sat) 02:21`, whatever stands before it."""
    match = _TIME.search(entry)
    return iso_time(match[0] if match else entry, where)


def _session(entry: object, number: int, time: str, where: str) -> Iterator[Turn]:
    for place, turn in enumerate(entry if isinstance(entry, list) else [entry]):
        fields = turn if isinstance(turn, dict) else {}
        role, content = fields.get("role"), fields.get("content")
        if not isinstance(role, str) or not isinstance(content, str):
            raise DatasetError(f'{where}: a turn must have the strings "role" and "content"')
        yield Turn(f"{number}:{place}", encodable(content, where), time, role)


_FORMS: Mapping[str, _Form | None] = {
    "icl_*": _Form(_examples, "exact_match"),
    "ruler_*": _Form(ruler.documents, "substring"),
    "longmemeval*": _Form(_sessions, "judge"),
    "factconsolidation*": _Form(_facts, "substring"),
    "eventqa*": _Form(_paragraphs, "substring"),
    "infbench*": _Form(_paragraphs, "judge"),
    "detective_qa*": _Form(_paragraphs, "exact_match"),
    "recsys*": None,
}
