"""LoCoMo (arXiv 2402.17753): dialogues of many sessions, with questions whose evidence is named by turn.

The official `locomo10.json`, or any subset of its samples, gzip allowed. A turn reads
`Speaker: text [shares caption]`: a picture counts by its caption. The evidence is not clean: one string may
name several turns, some name none (`D`), some a turn that does not exist. Whatever names a turn of the
conversation counts; the rest is kept as bad.

Adversarial questions ask for what was not said; to say so is right. Wrong labels of the other questions were
found and mended by an audit (github.com/dial481/locomo-audit, `errors.json`): a data set is read with or
without it, and says which.
"""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from memalpha.sources.locomo import is_sample
from memalpha.sources.structured import kind_of
from memalpha.sources.times import event_time
from memalpha.tasks.data.readers.files import DatasetError, check_unique, digest, encodable, read_json
from memalpha_evals.datasets.base import Conversation, Dataset, Question, Turn
from memalpha_evals.datasets.locomo_audit import audited, canonical, evidence_of

CATEGORIES = {1: "multi-hop", 2: "temporal", 3: "open-domain", 4: "single-hop", 5: "adversarial"}
"""The file's numbers, named as in the paper's released evaluation code."""

UNMENDED = (
    "An audit finds 99 of the 1,540 answers of categories 1 to 4 wrong: nothing can be right on them all."
)
MENDED = (
    "Wrong answers and evidence are mended by an audit. Mended answers are sentences that explain, written "
    "for a judge: overlap of words with them says little."
)

_SESSION = re.compile(r"session_(\d+)")


def read(path: Path, audit: Path | None = None) -> Dataset:
    """Reads a file, with the labels of an audit if one is given.

    Raises:
        DatasetError: it is missing, not JSON, or not LoCoMo with questions; or the audit is not of it.
    """
    sha256 = digest(path)
    samples = read_json(path)
    samples = samples if isinstance(samples, list) else [samples]
    if not samples or not all(is_sample(sample) for sample in samples):
        raise DatasetError(f'{path.name} is not LoCoMo: every sample needs a "conversation" with "session_1"')
    conversations = tuple(
        _conversation(sample, number, path.name) for number, sample in enumerate(samples, start=1)
    )
    check_unique((conversation.id for conversation in conversations), f"{path.name}: sample_id")
    if audit:
        conversations = audited(conversations, audit)
        sha256 = hashlib.sha256((sha256 + digest(audit)).encode()).hexdigest()
    return Dataset(
        "locomo",
        sha256,
        conversations,
        apart=frozenset({"adversarial"}),
        licence="CC BY-NC 4.0",
        caveats=(MENDED if audit else UNMENDED,),
        metric="f1",
    )


def _conversation(sample: dict[str, Any], number: int, name: str) -> Conversation:
    id_ = str(sample.get("sample_id", number))
    where = f"{name}, sample {id_}"
    turns = tuple(_turns(sample["conversation"], where))
    check_unique((turn.id for turn in turns), f"{where}: dia_id")
    entries = sample.get("qa")
    if not isinstance(entries, list):
        raise DatasetError(f'{where}: "qa" must be an array of questions, not {kind_of(entries)}')
    ids = frozenset(turn.id for turn in turns)
    questions = (
        _question(entry, ids, f"{where}, question {place}") for place, entry in enumerate(entries, start=1)
    )
    return Conversation(id=id_, turns=turns, questions=tuple(questions))


def _turns(conversation: dict[str, Any], where: str) -> Iterator[Turn]:
    numbers = sorted(int(match[1]) for key in conversation if (match := _SESSION.fullmatch(key)))
    for number in numbers:
        session = conversation[f"session_{number}"]
        if not isinstance(session, list):
            raise DatasetError(f"{where}, session {number} must be an array of turns, not {kind_of(session)}")
        time = _time(conversation.get(f"session_{number}_date_time"), f"{where}, session {number}")
        for place, turn in enumerate(session, start=1):
            yield _turn(turn, time, f"{where}, session {number}, turn {place}")


def _turn(turn: object, time: str, where: str) -> Turn:
    fields = turn if isinstance(turn, dict) else {}
    speaker, text, id_ = (fields.get(key) for key in ("speaker", "text", "dia_id"))
    if not isinstance(speaker, str) or not isinstance(text, str) or not isinstance(id_, str):
        raise DatasetError(f'{where} must be an object with the strings "speaker", "text" and "dia_id"')
    caption = fields.get("blip_caption")
    picture = f" [shares {caption}]" if caption else ""
    shown = encodable(f"{speaker}: {text}{picture}", where)
    return Turn(id=canonical(id_) or id_, text=shown, time=time, speaker=encodable(speaker, where))


def _question(entry: object, turn_ids: frozenset[str], where: str) -> Question:
    fields = entry if isinstance(entry, dict) else {}
    text, category, cited = fields.get("question"), fields.get("category"), fields.get("evidence", [])
    if not isinstance(text, str) or not text.strip():
        raise DatasetError(f'{where} needs a "question" that is not empty')
    if not isinstance(category, int) or category not in CATEGORIES:
        raise DatasetError(f'{where}: "category" must be a number from 1 to 5, not {category!r}')
    if not isinstance(cited, list) or not all(isinstance(citation, str) for citation in cited):
        raise DatasetError(f'{where}: "evidence" must be an array of strings')
    evidence, bad = evidence_of(cited, turn_ids)
    answer = str(fields.get("answer", ""))
    return Question(
        text=encodable(text, where),
        category=CATEGORIES[category],
        answer=encodable(answer, where),
        evidence=evidence,
        bad_evidence=bad,
        unanswerable=CATEGORIES[category] == "adversarial" and not answer,
    )


def _time(value: object, where: str) -> str:
    try:
        return event_time(value)
    except ValueError as error:
        raise DatasetError(f"{where}: {error}") from error
