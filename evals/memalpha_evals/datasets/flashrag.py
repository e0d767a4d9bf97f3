"""Questions with passages in FlashRAG's form (arXiv 2405.13576), which MemOCR builds its contexts from.

Lines of `question`, `golden_answers` and `metadata` with the passages as columns: `context.title` beside
`context.sentences` (or `content`), and the supporting titles.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from memalpha.tasks.data.readers.files import DatasetError, encodable, list_of, read_rows, text_of
from memalpha.tasks.data.readers.passages import Passage, PassageQuestion


def is_one(path: Path) -> bool:
    """Whether the first row of a file is of this form."""
    _, row = next(read_rows(path))
    return "golden_answers" in row


def read(path: Path) -> Iterator[PassageQuestion]:
    """Reads a file.

    Raises:
        DatasetError: a row is not of the form, or has no passages.
    """
    for where, row in read_rows(path):
        metadata = _object(row, "metadata", where)
        passages = tuple(_passages(metadata, f"{where}, metadata"))
        answers = tuple(encodable(str(each), where) for each in list_of(row, "golden_answers", where))
        yield PassageQuestion(
            text_of(row, "question", where), answers, str(metadata.get("type") or ""), passages
        )


def _passages(metadata: dict[str, Any], where: str) -> Iterator[Passage]:
    context = _object(metadata, "context", where)
    titles = list_of(context, "title", f"{where}, context")
    bodies = list_of(context, "sentences" if "sentences" in context else "content", f"{where}, context")
    if len(titles) != len(bodies):
        raise DatasetError(f"{where}: context has {len(titles)} titles but {len(bodies)} texts")
    supporting = set(map(str, list_of(_object(metadata, "supporting_facts", where), "title", where)))
    for title, body in zip(titles, bodies, strict=True):
        text = "".join(map(str, body)) if isinstance(body, list) else str(body)
        yield Passage(encodable(f"{title}\n{text}".strip(), where), str(title) in supporting)


def _object(row: Mapping[str, Any], key: str, where: str) -> dict[str, Any]:
    value = row.get(key)
    if not isinstance(value, dict):
        raise DatasetError(f'{where}: "{key}" must be an object')
    return value
