"""Questions with passages in FlashRAG's form (arXiv 2405.13576), which MemOCR builds its contexts from.

Lines of `question`, `golden_answers` and `metadata` with the passages as columns: `context.title` beside
`context.sentences` (or `content`), and the supporting titles. As MemOCR does it, a question ends with a
question mark, and one whose supporting passages are not all among its own is left out, though its passages
may stand in contexts of others: here it has no answer.

Compared with `flashrag/dataset/dataset.py` and `README.md` of RUC-NLPIR/FlashRAG @ 1ee5249 and
`taskutils/memory_data/process_test.py` of syr-cn/MemOCR @ 38b8661; not with the files themselves.
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
        passages, whole = _passages(metadata, f"{where}, metadata")
        answers = tuple(encodable(str(each), where) for each in list_of(row, "golden_answers", where))
        text = f"{text_of(row, 'question', where).strip().removesuffix('?')}?"
        yield PassageQuestion(text, answers if whole else (), str(metadata.get("type") or ""), passages)


def _passages(metadata: dict[str, Any], where: str) -> tuple[tuple[Passage, ...], bool]:
    """The passages, and whether all that support the answer are among them."""
    context = _object(metadata, "context", where)
    titles = list_of(context, "title", f"{where}, context")
    bodies = list_of(context, "sentences" if "sentences" in context else "content", f"{where}, context")
    if len(titles) != len(bodies):
        raise DatasetError(f"{where}: context has {len(titles)} titles but {len(bodies)} texts")
    supporting = set(map(str, list_of(_object(metadata, "supporting_facts", where), "title", where)))
    texts = ("".join(map(str, body)) if isinstance(body, list) else str(body) for body in bodies)
    passages = (
        Passage(encodable(f"{title}\n{text}".strip(), where), str(title) in supporting)
        for title, text in zip(titles, texts, strict=True)
    )
    return tuple(passages), supporting <= set(map(str, titles))


def _object(row: Mapping[str, Any], key: str, where: str) -> dict[str, Any]:
    value = row.get(key)
    if not isinstance(value, dict):
        raise DatasetError(f'{where}: "{key}" must be an object')
    return value
