"""BEAM (ICLR 2026): one long chat each, with probing questions whose evidence is named by message id.

A folder of chats as published (`N/chat.json` with `N/probing_questions/probing_questions.json`), or the same
files side by side as `N.chat.json` and `N.probing_questions.json`, gzip allowed. Where a chat comes truncated
too, the truncated file counts, as in the authors' own pipeline. A message keeps its words and loses the
generator's mark at its end; it bears the date of its batch. Questions whose answer is not in the chat name no
evidence and cannot be scored here.
"""

import hashlib
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from memalpha.sources.structured import kind_of
from memalpha_evals.datasets.base import Conversation, Dataset, DatasetError, Question, Turn
from memalpha_evals.datasets.files import check_unique, digest, encodable, read_json

LONGEST = 64 * 1024
"""Bytes of a message that are kept: as many as one memory holds. One message of the set is a longer log."""

_CHATS = ("chat_trunecated.json", "chat.json")  # the published spelling
_QUESTIONS = "probing_questions.json"
_MARK = re.compile(r"->->\s*[\d,]+\s*$")
_ANCHOR = "%B-%d-%Y"


@dataclass(frozen=True, slots=True)
class _Files:
    number: int
    chat: Path
    questions: Path


def read(path: Path, numbers: Collection[int] | None = None) -> Dataset:
    """Reads the chats of a folder, or those with the given numbers.

    Raises:
        DatasetError: the folder has no such chat, or a file is not BEAM.
    """
    found = {files.number: files for files in _files(path)}
    missing = sorted(set(numbers or ()) - set(found))
    if missing or not found:
        wanted = f"chat {missing[0]}" if missing else "BEAM chat"
        raise DatasetError(f"there is no {wanted} in {path}")
    chosen = [found[number] for number in sorted(numbers or found)]
    digests = "".join(digest(file) for files in chosen for file in (files.chat, files.questions))
    return Dataset(
        name="beam",
        sha256=hashlib.sha256(digests.encode()).hexdigest(),
        conversations=tuple(_conversation(files) for files in chosen),
        unit="message",
    )


def _files(folder: Path) -> Iterator[_Files]:
    """Each chat with its questions; a truncated chat goes before the whole one."""
    seen: set[int] = set()
    for name in _CHATS:
        for chat in sorted(folder.glob(f"*/{name}")):
            if chat.parent.name.isdecimal() and (number := int(chat.parent.name)) not in seen:
                seen.add(number)
                yield _Files(number, chat, chat.parent / "probing_questions" / _QUESTIONS)
        for chat in sorted(folder.glob(f"*.{name}*")):
            prefix, _, suffix = chat.name.partition(f".{name}")
            if prefix.isdecimal() and suffix in ("", ".gz") and (number := int(prefix)) not in seen:
                seen.add(number)
                yield _Files(number, chat, folder / f"{prefix}.{_QUESTIONS}{suffix}")


def _conversation(files: _Files) -> Conversation:
    turns = tuple(_turns(read_json(files.chat), files.chat.name))
    check_unique((turn.id for turn in turns), f"{files.chat.name}: id")
    probes = read_json(files.questions)
    if not isinstance(probes, dict) or not all(isinstance(entries, list) for entries in probes.values()):
        raise DatasetError(
            f"{files.questions.name} must be an object of arrays, one for each type of question"
        )
    ids = frozenset(turn.id for turn in turns)
    questions = (
        _question(entry, kind, ids, f"{files.questions.name}, {kind} {place}")
        for kind, entries in probes.items()
        for place, entry in enumerate(entries, start=1)
    )
    return Conversation(id=str(files.number), turns=turns, questions=tuple(questions))


def _turns(batches: object, name: str) -> Iterator[Turn]:
    if not isinstance(batches, list):
        raise DatasetError(f"{name} is not BEAM: it must be an array of batches, not {kind_of(batches)}")
    for number, batch in enumerate(batches, start=1):
        groups = batch.get("turns") if isinstance(batch, dict) else None
        if not isinstance(groups, list) or not all(isinstance(group, list) for group in groups):
            raise DatasetError(f'{name}, batch {number}: "turns" must be an array of arrays of messages')
        messages = [message for group in groups for message in group]
        time = _time(messages, f"{name}, batch {number}")
        for place, message in enumerate(messages, start=1):
            yield _turn(message, time, f"{name}, batch {number}, message {place}")


def _turn(message: object, time: str, where: str) -> Turn:
    fields = message if isinstance(message, dict) else {}
    id_, content = fields.get("id"), fields.get("content")
    if not isinstance(id_, (int, str)) or not isinstance(content, str):
        raise DatasetError(f'{where} must be an object with "id" and the string "content"')
    text = encodable(_MARK.sub("", content), where)
    return Turn(id=str(id_), text=text.encode()[:LONGEST].decode(errors="ignore"), time=time)


def _time(messages: list[Any], where: str) -> str:
    """The date that the batch's first dated message names, such as `March-15-2024`."""
    anchors = (message.get("time_anchor") for message in messages if isinstance(message, dict))
    anchor = next((anchor for anchor in anchors if anchor), None)
    if anchor is None:
        return ""
    try:
        return datetime.strptime(anchor, _ANCHOR).strftime("%Y-%m-%d")
    except (TypeError, ValueError) as error:
        message = f'"time_anchor" must be a date such as March-15-2024, not {anchor!r}'
        raise DatasetError(f"{where}: {message}") from error


def _question(entry: object, kind: str, turn_ids: frozenset[str], where: str) -> Question:
    fields = entry if isinstance(entry, dict) else {}
    text = fields.get("question")
    if not isinstance(text, str) or not text.strip():
        raise DatasetError(f'{where} needs a "question" that is not empty')
    cited = dict.fromkeys(_ids(fields.get("source_chat_ids")))
    return Question(
        text=encodable(text, where),
        category=kind,
        answer=str(fields.get("answer", "")),
        evidence=frozenset(cited) & turn_ids,
        bad_evidence=tuple(id_ for id_ in cited if id_ not in turn_ids),
    )


def _ids(cited: object) -> Iterator[str]:
    """Message ids, however deep the file nests them by the role they play."""
    if isinstance(cited, dict):
        cited = list(cited.values())
    if isinstance(cited, list):
        for part in cited:
            yield from _ids(part)
    elif isinstance(cited, (int, str)) and not isinstance(cited, bool):
        yield str(cited)
