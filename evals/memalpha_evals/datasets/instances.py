"""Task instances as conversations: Mem-alpha's official parquet, and the generated ledger.

A chunk becomes a turn with its own time, so that a stream with large enough chunks reads it as it was made.
"""

from pathlib import Path

from memalpha.tasks.data import parquet
from memalpha.tasks.data.readers.files import DatasetError, digest
from memalpha.tasks.instance import Instance
from memalpha.tasks.instance import Question as Asked
from memalpha.tasks.ledger import NOT_KNOWN, ledger
from memalpha.tasks.ledger.stream import MOST_UNITS
from memalpha_evals.datasets.base import Conversation, Dataset, Question, Turn
from memalpha_evals.datasets.draws import ALL, Draw

STREAMS = 20
"""Streams of the ledger unless a draw says otherwise."""
LEAKS = (
    "The instances of icl_nlu and icl_trec_coarse are trained on by Mem-alpha: same contexts, same questions "
    "(arXiv 2509.25911, released code).",
)


def memalpha(path: Path, draw: Draw = ALL) -> Dataset:
    """Mem-alpha's released parquet, or its processed MemoryAgentBench.

    Raises:
        DatasetError: pyarrow is missing, or a row is not of the form.
    """
    return Dataset(
        name="memalpha",
        sha256=digest(path),
        conversations=tuple(conversation(each) for each in draw.first(parquet.read(path))),
        unit="passage",
        licence="of each source",
        caveats=LEAKS,
    )


def generated(units: int, draw: Draw = ALL) -> Dataset:
    """Streams of the ledger, made from names and wordings that no training sees.

    Raises:
        DatasetError: there is no ledger of that length.
    """
    if not 1 <= units <= MOST_UNITS:
        raise DatasetError(f"a ledger has from 1 to {MOST_UNITS} units of six chunks, not {units}")
    first = draw.seed * 1_000_000
    count = draw.conversations or STREAMS
    instances = (ledger(first + number, units, split="eval") for number in range(count))
    return Dataset(
        name="ledger",
        sha256="",
        conversations=tuple(conversation(each) for each in instances),
        unit="passage",
        licence="Apache-2.0, generated",
        metric="strict",
    )


def conversation(instance: Instance) -> Conversation:
    """An instance as a conversation, a chunk a turn."""
    turns = tuple(
        Turn(f"C{number}", chunk.text, chunk.event_time) for number, chunk in enumerate(instance.chunks)
    )
    questions = tuple(_question(asked, instance.source) for asked in instance.questions)
    return Conversation(instance.instance_id, turns, questions)


def _question(asked: Asked, source: str) -> Question:
    first, *others = asked.answers
    return Question(
        text=asked.question,
        category=asked.kind or source,
        answer=first,
        evidence=frozenset(f"C{number}" for number in asked.evidence),
        bad_evidence=(),
        aliases=tuple(others),
        time=asked.time,
        unanswerable=source == "ledger" and first == NOT_KNOWN,
        metric=asked.metric,
    )
