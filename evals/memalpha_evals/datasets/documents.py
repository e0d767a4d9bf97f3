"""Question answering in a context of any length: a question's own passages among others of its set.

One conversation for each question, as in MemAgent (arXiv 2507.02259) and MemOCR (arXiv 2601.21468): the
passages that come with it and distractors drawn from all other passages of the file up to a number of
documents, shuffled, each as `Document 7:`, title and text. The papers call 50, 200 and 800 documents 10K,
30K and 100K tokens. Two rules are ours: every question has a shuffle of its own, since the released code puts
the supporting passages of all questions at the same places; and a distractor of Natural Questions holds none
of the question's answers, since that set marks one gold passage and no others.

Where the set has too few passages, distractors come from other sets, or there are fewer; the data set's
caveats say so.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from random import Random

from memalpha.tasks.data.readers.files import DatasetError, digest
from memalpha.tasks.data.readers.passages import PassageQuestion
from memalpha_evals.datasets.base import Conversation, Dataset, Question, Turn
from memalpha_evals.datasets.draws import ALL, Draw
from memalpha_evals.datasets.passage_sets import Set

DOCUMENTS = {"10k": 50, "30k": 200, "100k": 800}
"""Documents of a nominal length, as the papers have them."""


@dataclass(frozen=True, slots=True)
class Beyond:
    """Another set whose passages are taken where the own ones do not suffice."""

    which: Set
    path: Path


def read(
    which: Set,
    path: Path,
    documents: int,
    draw: Draw = ALL,
    beyond: Iterable[Beyond] = (),
) -> Dataset:
    """Reads a file's questions, each in a context of so many documents.

    Raises:
        DatasetError: the file is not of the set, or no question of it has an answer.
    """
    found = list(which.rows(path))
    rows = [row for row in found if row.answers and row.passages]
    if not rows:
        raise DatasetError(f"{path.name} has no question with an answer and passages")
    pool = _Pool(_passages(found))
    own = len(pool)
    needed = [each.which.name for each in _fill(pool, documents, beyond)]
    mixer = _Mixer(which, documents, draw.seed, pool)
    conversations = [mixer.conversation(rows[place], place) for place in draw.first(draw.some(len(rows)))]
    fewest = min(len(each.turns) for each in conversations)
    return Dataset(
        name=which.name,
        sha256=digest(path),
        conversations=tuple(conversations),
        unit="passage",
        clusters="questions",
        licence=which.licence,
        caveats=(*which.caveats, *_shortage(documents, own, fewest, needed)),
        metric="substring",
    )


class _Pool:
    """Different texts in order of code points, as the released code has them, then those of other sets."""

    def __init__(self, texts: Iterable[str]) -> None:
        self.texts = sorted(set(texts))
        self._known = set(self.texts)

    def __len__(self) -> int:
        return len(self.texts)

    def add(self, texts: Iterable[str], most: int) -> None:
        """Takes new texts while there are fewer than `most`."""
        for text in texts:
            if len(self) >= most:
                return
            if text not in self._known:
                self._known.add(text)
                self.texts.append(text)


def _passages(rows: Iterable[PassageQuestion]) -> Iterator[str]:
    return (passage.text for row in rows for passage in row.passages)


def _fill(pool: _Pool, documents: int, beyond: Iterable[Beyond]) -> Iterator[Beyond]:
    """Tops a pool up to the documents of a context; yields the sets that gave some.

    One that cannot be read gives what stands before its fault: it is no fault of the file that is asked.
    """
    for other in beyond:
        if len(pool) >= documents:
            return
        before = len(pool)
        with suppress(DatasetError):
            pool.add(_passages(other.which.rows(other.path)), documents)
        if len(pool) > before:
            yield other


def _shortage(documents: int, own: int, fewest: int, names: Sequence[str]) -> Iterator[str]:
    if names:
        yield f"The file has {own} different passages; distractors also come from {', '.join(names)}."
    if fewest < documents:
        yield f"Some contexts hold only {fewest} of {documents} documents: there are no more passages."


@dataclass(frozen=True, slots=True)
class _Mixer:
    which: Set
    documents: int
    seed: int
    pool: _Pool

    def conversation(self, row: PassageQuestion, place: int) -> Conversation:
        """A question in its context; `place` is its own in the file, so that a draw changes no context."""
        rng = Random(f"{self.seed} {place}")
        own = dict.fromkeys(passage.text for passage in row.passages)
        texts = [*own, *self._distractors(row, set(own), rng)]
        rng.shuffle(texts)
        supporting = {passage.text for passage in row.passages if passage.supports}
        turns = tuple(Turn(f"D{n}", f"Document {n}:\n{text}", "") for n, text in enumerate(texts, start=1))
        evidence = frozenset(turn.id for turn, text in zip(turns, texts, strict=True) if text in supporting)
        return Conversation(f"{self.which.name}-{place}", turns, (_question(row, evidence),))

    def _distractors(self, row: PassageQuestion, own: set[str], rng: Random) -> Iterator[str]:
        """Passages in random order, as many as there is room for."""
        answers = [answer.lower() for answer in row.answers] if self.which.clean else []
        others = (self.pool.texts[place] for place in _shuffled(len(self.pool), rng))
        fitting = (each for each in others if each not in own and not _tells(each, answers))
        return islice(fitting, max(0, self.documents - len(own)))


def _shuffled(count: int, rng: Random) -> Iterator[int]:
    """Numbers below `count` in random order, drawn as they are asked for (Fisher and Yates)."""
    moved: dict[int, int] = {}
    for last in range(count - 1, -1, -1):
        place = rng.randrange(last + 1)
        yield moved.get(place, place)
        moved[place] = moved.get(last, last)


def _tells(text: str, answers: Iterable[str]) -> bool:
    """Whether an answer, in lower case, stands in a text for itself, not within a word."""
    told = text.lower() if answers else ""
    return any(each in told and re.search(rf"(?<!\w){re.escape(each)}(?!\w)", told) for each in answers)


def _question(row: PassageQuestion, evidence: frozenset[str]) -> Question:
    text = row.text.strip()
    first, *others = row.answers
    return Question(
        text=text if text.endswith("?") else f"{text}?",
        category=row.kind or "question",
        answer=first,
        evidence=evidence,
        bad_evidence=(),
        aliases=tuple(others),
    )
