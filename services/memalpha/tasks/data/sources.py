"""Every source by its name: which files are its own, how large its instances are, and what builds them.

A run is a pure function of the files, the limits and the seed. Rows are read as instances are asked for.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, Protocol

from memalpha.tasks.data import limits as sizes
from memalpha.tasks.data.builders import dialogues, events, labels, passages, stories
from memalpha.tasks.data.draft import Job
from memalpha.tasks.data.leakage import Test
from memalpha.tasks.data.limits import Limits
from memalpha.tasks.data.readers import beam, longmemeval, perltqa
from memalpha.tasks.data.readers import labels as labelled
from memalpha.tasks.data.readers import passages as asked
from memalpha.tasks.data.readers import stories as told
from memalpha.tasks.data.readers.files import DatasetError
from memalpha.tasks.data.splits import REPORT_ONLY, Names, Split, files
from memalpha.tasks.instance import Instance


class Row(Protocol):
    """What a reader reads: one question, sentence, story, chat or character."""

    def lines(self) -> Iterator[str]:
        """Lines that an instance would say of it; `build` asks once for each row, before it is built from."""
        ...


_Rows = Callable[[Path, Split], Iterator[Row]]

BEAM_CHATS: Mapping[Split, range] = {"train": range(1, 13), "dev": range(13, 17)}
"""Numbers of the chats; those above are held out."""


@dataclass(frozen=True, slots=True)
class Source:
    """One source. `rows` reads the files of a split, `build` makes instances of the rows."""

    rows: _Rows
    build: Callable[[Any, Job], Iterator[Instance]]
    limits: Limits
    files: str


def build(
    source: str,
    path: Path,
    *,
    split: Split = "train",
    seed: int = 0,
    limits: Limits | None = None,
    apart: Test | None = None,
) -> Iterator[Instance]:
    """Builds instances of one source, as they are asked for.

    Args:
        source: One of `SOURCES`.
        path: The source's folder, or one file of it.
        split: `train`, or `dev` for files that are never trained on.
        seed: Of every draw.
        limits: Instead of the source's own.
        apart: Rows that would leak this test are left out, and instances that a row gave no sign of.

    Raises:
        DatasetError: the source is unknown or only reports, or a file is not of the split or not readable.
    """
    chosen = source_named(source)
    used = limits or chosen.limits
    rows = (row for row in chosen.rows(path, split) if apart is None or not apart.sees(row.lines()))
    made = chosen.build(rows, Job(source, split, used, seed))
    found = (instance for instance in made if apart is None or not apart.leaks_into(instance))
    return islice(found, used.instances or None)


def source_named(name: str) -> Source:
    """The source of a name.

    Raises:
        DatasetError: there is none, or it only reports.
    """
    if name in REPORT_ONLY:
        raise DatasetError(f"nothing is built from {name}: its results count as out of distribution")
    if name not in SOURCES:
        raise DatasetError(f"source must be one of {', '.join(SOURCES)}, not {name!r}")
    return SOURCES[name]


def _read(source: str, names: Names, reader: Callable[[Path], Iterable[Row]]) -> _Rows:
    return lambda path, split: chain.from_iterable(map(reader, files(source, names, path, split)))


def _nq(path: Path, split: Split) -> Iterator[asked.PassageQuestion]:
    """One file: the others ask the same questions with the same gold passages, and differ in distractors."""
    return asked.nq(files("nq", _NQ, path, split)[0])


def _nlu(path: Path) -> Iterator[labelled.Example]:
    return labelled.rasa(path) if ".json" in path.name else labelled.pairs(path)


def _clinc150(path: Path, split: Split) -> Iterator[labelled.Example]:
    parts = ("train",) if split == "train" else ("val", "test")
    names = Names(("data_full*.json",), ("data_full*.json",))
    return chain.from_iterable(
        labelled.clinc150(file, parts) for file in files("clinc150", names, path, split)
    )


def _beam(path: Path, split: Split) -> Iterator[beam.Chat]:
    found = [each for each in beam.find(path) if each.number in BEAM_CHATS[split]]
    if not found:
        numbers = BEAM_CHATS[split]
        raise DatasetError(f"{path} has no {split} chat of beam: {numbers[0]} to {numbers[-1]} are")
    return map(beam.read, found)


def _perltqa(path: Path, split: Split) -> Iterator[perltqa.Character]:
    (memory,), (questions,) = (
        files("perltqa", Names((pattern,), ()), path, split)[:1]
        for pattern in ("perltmem*.json", "perltqa*.json")
    )
    return perltqa.read(memory, questions)


def _source(
    name: str,
    names: Names,
    reader: Callable[[Path], Iterable[Row]],
    build: Callable[[Any, Job], Iterator[Instance]],
    limits: Limits,
) -> Source:
    return Source(_read(name, names, reader), build, limits, ", ".join(names.train or names.dev))


_SQUAD = Names(("train-v*.json", "xquad.en*.json"), ("dev-v*.json",))
_NQ = Names(("nq-open-*.jsonl",), ())
_HOTPOTQA = Names(("hotpot_train*.json*",), ("hotpot_dev*.json*",))
_TWOWIKI = Names(("2wiki_train*.json*", "train.json*"), ("2wiki_dev*.json*", "dev.json*"))
_MUSIQUE = Names(("musique_*train*.json*",), ("musique_*dev*.json*",))
_TREC = Names(("train_*.label",), ())
_BANKING77 = Names(("train.csv",), ("test*.csv",))
_NLU = Names(("*train_intents.csv",), ("*test*.json",))
_LINES = Names(("train.jsonl",), ("dev.jsonl",))
_SESSIONS = Names(("lme_train*.json*",), ("longmemeval_[smo]*.json*",))

SOURCES: Mapping[str, Source] = {
    "squad": _source("squad", _SQUAD, asked.squad, passages.build, sizes.SQUAD),
    "nq": Source(_nq, passages.build, sizes.SQUAD, "nq-open-*.jsonl"),
    "hotpotqa": _source("hotpotqa", _HOTPOTQA, asked.hotpotqa, passages.build, sizes.HOTPOTQA),
    "2wiki": _source("2wiki", _TWOWIKI, asked.twowiki, passages.build, sizes.HOTPOTQA),
    "musique": _source("musique", _MUSIQUE, asked.musique, passages.build, sizes.HOTPOTQA),
    "trec": _source("trec", _TREC, labelled.trec_coarse, labels.build, sizes.TREC),
    "trec-fine": _source("trec-fine", _TREC, labelled.trec_fine, labels.build, sizes.INTENTS),
    "banking77": _source("banking77", _BANKING77, labelled.pairs, labels.build, sizes.INTENTS),
    "clinc150": Source(_clinc150, labels.build, sizes.INTENTS, "data_full*.json"),
    "nlu": _source("nlu", _NLU, _nlu, labels.build, sizes.NLU),
    "csabstruct": _source("csabstruct", _LINES, labelled.csabstruct, labels.build, sizes.PUBMED),
    "squality": _source("squality", _LINES, told.squality, stories.build, sizes.STORIES),
    "beam": Source(_beam, dialogues.chats, sizes.SESSIONS, "the chats' folder"),
    "longmemeval": _source("longmemeval", _SESSIONS, longmemeval.read, dialogues.histories, sizes.SESSIONS),
    "perltqa": Source(_perltqa, events.build, sizes.PERLTQA, "a folder with perltmem*.json, perltqa*.json"),
}
"""The sources by name."""
