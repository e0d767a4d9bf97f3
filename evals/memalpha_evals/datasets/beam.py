"""BEAM (ICLR 2026): one long chat each, a message a turn.

Questions of the kind `abstention` ask for what the chat does not say, and name no evidence. The paper scores
all kinds by a judge with a rubric.
"""

import hashlib
from collections.abc import Collection
from pathlib import Path

from memalpha.tasks.data.readers.beam import LONGEST, Chat, Probe, find
from memalpha.tasks.data.readers.beam import read as read_chat
from memalpha.tasks.data.readers.files import digest
from memalpha_evals.datasets.base import Conversation, Dataset, Question, Turn

__all__ = ["CAVEATS", "LONGEST", "read"]

CAVEATS = (
    "Some rubrics contradict the reference answer of their own question (in 8 of 265 checked, a number of "
    "the rubric is not in the answer).",
    "`memalpha data build beam` makes training instances of chats 1 to 12 of the 100K tier.",
    f"A message is cut at {LONGEST} bytes; one of the 100K tier is longer.",
)


def read(path: Path, numbers: Collection[int] | None = None, most: int = 0) -> Dataset:
    """Reads the chats of a folder, or those with the given numbers; at most `most`, 0: all.

    Raises:
        DatasetError: the folder has no such chat, or a file is not BEAM.
    """
    chosen = find(path, numbers)[: most or None]
    digests = "".join(digest(file) for files in chosen for file in (files.chat, files.questions))
    return Dataset(
        name="beam",
        sha256=hashlib.sha256(digests.encode()).hexdigest(),
        conversations=tuple(_conversation(read_chat(files)) for files in chosen),
        unit="message",
        licence="CC BY-SA 4.0",
        caveats=CAVEATS,
        metric="judge",
    )


def _conversation(chat: Chat) -> Conversation:
    turns = tuple(Turn(message.id, message.text, message.time, message.role) for message in chat.messages)
    ids = frozenset(turn.id for turn in turns)
    return Conversation(str(chat.number), turns, tuple(_question(probe, ids) for probe in chat.probes))


def _question(probe: Probe, turn_ids: frozenset[str]) -> Question:
    return Question(
        text=probe.text,
        category=probe.kind,
        answer=probe.answer,
        evidence=frozenset(probe.cited) & turn_ids,
        bad_evidence=tuple(id_ for id_ in probe.cited if id_ not in turn_ids),
        unanswerable=probe.kind == "abstention",
        rubric=probe.rubric,
    )
