"""SQuALITY (arXiv 2205.11465): a story with five questions, each answered by four people in a summary."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memalpha.tasks.data.readers.files import list_of, read_rows, text_of

_PARAGRAPHS = re.compile(r"\n\s*\n")


@dataclass(frozen=True, slots=True)
class StoryQuestion:
    """A question and its reference answers; `about_plot` is the question for the whole story's summary."""

    text: str
    references: tuple[str, ...]
    about_plot: bool


@dataclass(frozen=True, slots=True)
class Story:
    """A story with its questions."""

    text: str
    questions: tuple[StoryQuestion, ...]

    def paragraphs(self) -> Iterator[str]:
        """Its paragraphs, each on one line."""
        for paragraph in _PARAGRAPHS.split(self.text):
            if paragraph.strip():
                yield " ".join(paragraph.split())

    def lines(self) -> Iterator[str]:
        """What an instance would say of it; not its questions, which are the same for many stories."""
        yield from self.paragraphs()


def squality(path: Path) -> Iterator[Story]:
    """Reads the released lines."""
    for where, row in read_rows(path):
        questions = (
            _question(entry, f"{where}, question {place}")
            for place, entry in enumerate(list_of(row, "questions", where), start=1)
        )
        yield Story(text_of(row, "document", where), tuple(questions))


def _question(entry: object, where: str) -> StoryQuestion:
    fields: dict[str, Any] = entry if isinstance(entry, dict) else {}
    references = tuple(
        text_of(response if isinstance(response, dict) else {}, "response_text", where)
        for response in list_of(fields, "responses", where)
    )
    return StoryQuestion(
        text_of(fields, "question_text", where), references, fields.get("question_number") == 1
    )
