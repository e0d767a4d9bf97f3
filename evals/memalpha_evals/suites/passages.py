"""Suites of passages: question answering in contexts of a length, and the generated ledger."""

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress

from memalpha.tasks.data.readers.files import DatasetError
from memalpha_evals.datasets import Dataset, documents, instances
from memalpha_evals.datasets.documents import DOCUMENTS, Beyond
from memalpha_evals.datasets.passage_sets import SETS, Set
from memalpha_evals.suites.model import Ask, Layout, Protocol, Suite, fitting

LEDGER = re.compile(r"ledger-(\d{1,3})x")
PASSAGE_SET = re.compile(rf"({'|'.join(SETS)})-(\d{{1,6}})docs")

_FLASHRAG = "dev.jsonl"
_FILES = {
    "hotpotqa": ("hotpotqa", "hotpot_dev_distractor*.json*"),
    "2wiki": ("2wikimultihop", "2wiki_dev*.json*"),
    "musique": ("musique", "musique_ans_dev*.json*"),
    "nq": ("nq", "nq-open-oracle*.jsonl"),
    "triviaqa": ("triviaqa", _FLASHRAG),
}
"""Folder and file of a set, with the questions that are asked.

TriviaQA's passages are in files of their own, which nothing here reads, and FlashRAG's file of it has none:
no public file with passages is known here.
"""

_MEMOCR = Protocol(
    budget=1024, questions=128, seed=42, source="MemOCR (arXiv 2601.21468), table 1: 128 questions a cell"
)


def ledger(units: int) -> Suite:
    """Generated streams of a length in units of six chunks."""
    about = f"Generated streams of {units * 6} chunks whose truth is known"
    layout = Layout((), lambda ask: instances.generated(units, ask.draw))
    return Suite(f"ledger-{units}x", about, "Apache-2.0", "", (layout,), Protocol(budget=1024))


def among(name: str, count: int) -> Suite:
    """A set's questions, each among so many documents; `name` is one of `SETS`."""
    return _among(SETS[name], f"{count}docs", count, f"{name} among {count} documents")


def _length(which: Set, length: str, count: int) -> Suite:
    return _among(
        which, length, count, f"{which.name} among {count} documents, nominally {length.upper()} tokens"
    )


def _among(which: Set, length: str, count: int, about: str) -> Suite:
    folder, pattern = _FILES[which.name]

    def read(ask: Ask) -> Dataset:
        return documents.read(which, ask.paths[0], count, ask.draw, _beyond(which, ask))

    layouts = tuple(Layout((each,), read) for each in dict.fromkeys((pattern, _FLASHRAG)))
    return Suite(f"{which.name}-{length}", about, which.licence, folder, layouts, _MEMOCR)


def _beyond(which: Set, ask: Ask) -> Iterator[Beyond]:
    """The other sets that lie below the folder of all data; where several files fit, none is meant."""
    for name, (folder, pattern) in _FILES.items():
        if name != which.name and ask.root:
            with suppress(DatasetError):
                if paths := fitting(ask.root / folder, pattern):
                    yield Beyond(SETS[name], paths[0])


def _lengths() -> Iterable[Suite]:
    for which in SETS.values():
        for length, count in DOCUMENTS.items():
            yield _length(which, length, count)


PASSAGES = (*_lengths(), *(ledger(units) for units in (1, 4, 13, 40)))
