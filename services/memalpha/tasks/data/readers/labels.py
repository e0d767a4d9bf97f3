"""Labelled sentences: TREC, BANKING77, CLINC150, NLU-Evaluation-Data and CSAbstruct, as released."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from memalpha.tasks.data.readers.files import (
    DatasetError,
    encodable,
    list_of,
    open_text,
    read_json,
    read_rows,
    text_of,
)


@dataclass(frozen=True, slots=True)
class Example:
    """A sentence and its label, as the file names it."""

    text: str
    label: str

    def lines(self) -> Iterator[str]:
        """What an instance would say of it."""
        yield self.text


def trec_coarse(path: Path) -> Iterator[Example]:
    """TREC's six classes (Li and Roth 2002), from Latin-1 lines `DESC:manner How did ... ?`."""
    return (Example(each.text, each.label.partition(":")[0]) for each in trec_fine(path))


def trec_fine(path: Path) -> Iterator[Example]:
    """TREC's fifty classes, from the same lines."""
    with open_text(path, "latin-1") as file:
        for number, line in enumerate(file, start=1):
            label, _, text = line.strip().partition(" ")
            if not label:
                continue
            if ":" not in label or not text.strip():
                rule = f"must read COARSE:fine, a space and a question, not {line[:60]!r}"
                raise DatasetError(f"{path.name}, line {number} {rule}")
            yield Example(text.strip(), label)


def pairs(path: Path) -> Iterator[Example]:
    """CSV of sentence and label, with or without the header `text,category`: BANKING77 and NLU."""
    with open_text(path) as file:
        rows = csv.reader(file, strict=True)
        try:
            for row in rows:
                if row and row != ["text", "category"]:
                    yield _pair(row, f"{path.name}, line {rows.line_num}")
        except csv.Error as error:
            raise DatasetError(f"{path.name}, line {rows.line_num} is not CSV: {error}") from error


def rasa(path: Path) -> Iterator[Example]:
    """The test folds of NLU-Evaluation-Data, in the form of the Rasa library."""
    document = read_json(path)
    data = document.get("rasa_nlu_data") if isinstance(document, dict) else None
    examples = list_of(data if isinstance(data, dict) else {}, "common_examples", path.name)
    for number, example in enumerate(examples, start=1):
        where = f"{path.name}, example {number}"
        fields = example if isinstance(example, dict) else {}
        yield Example(text_of(fields, "text", where), text_of(fields, "intent", where))


def clinc150(path: Path, parts: tuple[str, ...]) -> Iterator[Example]:
    """The named parts of CLINC150's one file, such as `train`; what is out of scope is a part of its own."""
    document = read_json(path)
    for part in parts:
        rows = list_of(document if isinstance(document, dict) else {}, part, path.name)
        for number, row in enumerate(rows, start=1):
            yield _pair(row, f"{path.name}, {part} {number}")


def csabstruct(path: Path) -> Iterator[Example]:
    """Sentences of abstracts with their role (arXiv 1909.04054)."""
    for where, row in read_rows(path):
        sentences, labels = list_of(row, "sentences", where), list_of(row, "labels", where)
        if len(sentences) != len(labels):
            raise DatasetError(f"{where} has {len(sentences)} sentences but {len(labels)} labels")
        for pair in zip(sentences, labels, strict=True):
            yield _pair(pair, where)


def _pair(row: object, where: str) -> Example:
    fields = row if isinstance(row, list | tuple) else ()
    if len(fields) != 2 or not all(isinstance(field, str) and field.strip() for field in fields):
        raise DatasetError(f"{where} must be a sentence and its label, neither empty, not {str(row)[:60]!r}")
    text, label = fields
    return Example(encodable(" ".join(text.split()), where), label.strip())
