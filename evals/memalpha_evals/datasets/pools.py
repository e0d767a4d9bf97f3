"""Questions over passages: HotpotQA, 2WikiMultihopQA, MuSiQue and Natural Questions.

The passages of all questions of a file are pooled into one bank, so that each question meets the others'
passages as distractors; passages of one title and text are one. The evidence of a question is the passages
that the file marks as supporting it or, for Natural Questions, as gold. A passage reads `title`, line break,
`text`. Questions are independent, so each is a cluster of its own.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memalpha_evals.datasets.base import Conversation, Dataset, DatasetError, Question, Turn
from memalpha_evals.datasets.files import digest, encodable, read_rows

_Passages = Iterable[tuple[object, object, bool]]
"""Title, text, and whether it supports the answer."""


@dataclass(frozen=True, slots=True)
class _Form:
    """How a file's rows are read; `kind` is the category."""

    passages: Callable[[dict[str, Any]], _Passages]
    kind: Callable[[dict[str, Any]], object]
    answer: Callable[[dict[str, Any]], object]


def hotpotqa(path: Path) -> Dataset:
    """HotpotQA's distractor setting (arXiv 1809.09600)."""
    return _read(path, "hotpotqa", _MULTIHOP)


def twowiki(path: Path) -> Dataset:
    """2WikiMultihopQA (arXiv 2011.01060), whose form is HotpotQA's."""
    return _read(path, "2wiki", _MULTIHOP)


def musique(path: Path) -> Dataset:
    """MuSiQue's answerable questions (arXiv 2108.00573); the category is the shape of the hops."""
    return _read(path, "musique", _MUSIQUE)


def nq(path: Path) -> Dataset:
    """Natural Questions with their gold passages, as released with arXiv 2307.03172."""
    return _read(path, "nq", _NQ)


def _read(path: Path, name: str, form: _Form) -> Dataset:
    sha256 = digest(path)
    places: dict[str, str] = {}
    questions = tuple(_question(row, form, places, where, name) for where, row in read_rows(path))
    turns = tuple(Turn(id=id_, text=text, time="") for text, id_ in places.items())
    return Dataset(
        name=name,
        sha256=sha256,
        conversations=(Conversation(id="pool", turns=turns, questions=questions),),
        unit="passage",
        clusters="questions",
    )


def _question(row: dict[str, Any], form: _Form, places: dict[str, str], where: str, name: str) -> Question:
    """One question; passages that `places` does not know yet join it under the next id."""
    text = row.get("question")
    if not isinstance(text, str) or not text.strip():
        raise DatasetError(f'{where} needs a "question" that is not empty')
    evidence: set[str] = set()
    try:
        for title, body, supports in form.passages(row):
            if not isinstance(title, str) or not isinstance(body, str):
                raise DatasetError(f"{where}: title and text of a passage must be strings")
            passage = encodable(f"{title}\n{body}".strip(), where)
            id_ = places.setdefault(passage, f"P{len(places) + 1}")
            if supports:
                evidence.add(id_)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, DatasetError):
            raise
        raise DatasetError(f"{where} is not a row of {name}: {error!r}") from error
    kind, answer = str(form.kind(row) or "question"), str(form.answer(row))
    return Question(encodable(text, where), kind, answer, frozenset(evidence), ())


def _sentences(row: dict[str, Any]) -> Iterator[tuple[object, object, bool]]:
    supporting = {title for title, _ in row["supporting_facts"]}
    for title, sentences in row["context"]:
        yield title, " ".join(sentence.strip() for sentence in sentences), title in supporting


def _paragraphs(row: dict[str, Any]) -> Iterator[tuple[object, object, bool]]:
    for paragraph in row["paragraphs"]:
        yield paragraph["title"], paragraph["paragraph_text"], bool(paragraph["is_supporting"])


def _contexts(row: dict[str, Any]) -> Iterator[tuple[object, object, bool]]:
    for context in row["ctxs"]:
        yield context["title"], context["text"], bool(context["isgold"])


_MULTIHOP = _Form(_sentences, lambda row: row.get("type"), lambda row: row.get("answer", ""))
_MUSIQUE = _Form(
    _paragraphs, lambda row: str(row.get("id", "")).partition("__")[0], lambda row: row.get("answer", "")
)
_NQ = _Form(_contexts, lambda row: "", lambda row: next(iter(row.get("answers", [])), ""))
