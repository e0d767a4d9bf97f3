"""Questions with their passages: HotpotQA, 2WikiMultihopQA, MuSiQue, Natural Questions and SQuAD.

A passage supports a question if the file marks it as supporting or as gold. A passage reads `title`, line
break, `text`. What a row lacks is an error that names the row and the form.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memalpha.tasks.data.readers.files import (
    DatasetError,
    encodable,
    list_of,
    read_json,
    read_rows,
    text_of,
)

_Raw = Iterable[tuple[object, object, bool]]
"""Title, text, and whether it supports the answer."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A passage as it is read, and whether its question needs it."""

    text: str
    supports: bool


@dataclass(frozen=True, slots=True)
class PassageQuestion:
    """A question, every answer that is accepted, its group, and the passages that come with it."""

    text: str
    answers: tuple[str, ...]
    kind: str
    passages: tuple[Passage, ...]

    def lines(self) -> Iterator[str]:
        """What an instance would say of it."""
        yield self.text
        for passage in self.passages:
            if passage.supports:
                yield from passage.text.split("\n")


@dataclass(frozen=True, slots=True)
class _Form:
    """How a file's rows are read."""

    name: str
    passages: Callable[[dict[str, Any]], _Raw]
    kind: Callable[[dict[str, Any]], object]
    answers: Callable[[dict[str, Any]], Iterable[object]]


def hotpotqa(path: Path) -> Iterator[PassageQuestion]:
    """HotpotQA's distractor setting (arXiv 1809.09600)."""
    return _read(path, _HOTPOTQA)


def twowiki(path: Path) -> Iterator[PassageQuestion]:
    """2WikiMultihopQA (arXiv 2011.01060), whose form is HotpotQA's."""
    return _read(path, _TWOWIKI)


def musique(path: Path) -> Iterator[PassageQuestion]:
    """MuSiQue's answerable questions (arXiv 2108.00573); the kind is the shape of the hops."""
    return _read(path, _MUSIQUE)


def nq(path: Path) -> Iterator[PassageQuestion]:
    """Natural Questions with their passages, as released with arXiv 2307.03172."""
    return _read(path, _NQ)


def squad(path: Path) -> Iterator[PassageQuestion]:
    """SQuAD (arXiv 1606.05250, 1806.03822) and XQuAD: a paragraph's questions follow one another.

    Questions that SQuAD 2 marks as impossible are left out.
    """
    document = read_json(path)
    articles = list_of(document if isinstance(document, dict) else {}, "data", path.name)
    for number, article in enumerate(articles, start=1):
        where = f"{path.name}, article {number}"
        fields = article if isinstance(article, dict) else {}
        for place, paragraph in enumerate(list_of(fields, "paragraphs", where), start=1):
            yield from _paragraph(paragraph, str(fields.get("title", "")), f"{where}, paragraph {place}")


def _paragraph(paragraph: object, title: str, where: str) -> Iterator[PassageQuestion]:
    fields = paragraph if isinstance(paragraph, dict) else {}
    body = text_of(fields, "context", where)
    text = f"{title.replace('_', ' ')}\n{body}".strip()
    for place, entry in enumerate(list_of(fields, "qas", where), start=1):
        question = entry if isinstance(entry, dict) else {}
        if question.get("is_impossible"):
            continue
        at = f"{where}, question {place}"
        found = [text_of(answer, "text", at) for answer in list_of(question, "answers", at)]
        if not found:
            raise DatasetError(f"{at} has no answer")
        answers = tuple(dict.fromkeys(found))
        yield PassageQuestion(text_of(question, "question", at), answers, "", (Passage(text, True),))


def _read(path: Path, form: _Form) -> Iterator[PassageQuestion]:
    for where, row in read_rows(path):
        text = text_of(row, "question", where)
        try:
            passages = tuple(_passages(row, form, where))
            answers = dict.fromkeys(encodable(str(answer), where) for answer in form.answers(row))
            kind = str(form.kind(row) or "")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, DatasetError):
                raise
            raise DatasetError(f"{where} is not a row of {form.name}: {error!r}") from error
        yield PassageQuestion(text, tuple(answer for answer in answers if answer.strip()), kind, passages)


def _passages(row: dict[str, Any], form: _Form, where: str) -> Iterator[Passage]:
    for title, body, supports in form.passages(row):
        if not isinstance(title, str) or not isinstance(body, str):
            raise DatasetError(f"{where}: title and text of a passage must be strings")
        yield Passage(encodable(f"{title}\n{body}".strip(), where), supports)


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


def _only(row: dict[str, Any]) -> list[object]:
    return [row.get("answer", "")]


_HOTPOTQA = _Form("hotpotqa", _sentences, lambda row: row.get("type"), _only)
_TWOWIKI = _Form("2wiki", _sentences, lambda row: row.get("type"), _only)
_MUSIQUE = _Form(
    "musique",
    _paragraphs,
    lambda row: str(row.get("id", "")).partition("__")[0],
    lambda row: [*_only(row), *row.get("answer_aliases", [])],
)
_NQ = _Form("nq", _contexts, lambda row: "", lambda row: row.get("answers", []))
